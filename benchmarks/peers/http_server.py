"""The SDK's own server over Streamable HTTP, stateless: `python -m benchmarks.peers.http_server PORT`."""

from __future__ import annotations

import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("bench")


@server.tool()
def echo(text: str) -> str:
    """Say it again."""
    return text


@server.tool()
async def echo_async(text: str) -> str:
    """Say it again."""
    return text


if __name__ == "__main__":
    import uvicorn

    app = server.streamable_http_app(stateless_http=True)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
