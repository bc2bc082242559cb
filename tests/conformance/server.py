"""The server under test: all that the scenarios name, of both eras. It knows nothing of HTTP and of queues."""

from __future__ import annotations

from typing import Final

from mcp.server.mcpserver import MCPServer

from tests.conformance.fixtures import asking, content, documents, lowlevel, notifying, rounds

NAME: Final = "conformance"
"""Of the server, after which its queues are named."""


def make_server() -> MCPServer:
    """A new server object; each process that serves makes its own."""
    server = MCPServer(NAME, version="1.0.0", tools=[content.schema_tool()], log_level="WARNING")
    for fixture in (content, notifying, asking, rounds, documents, lowlevel):
        fixture.register(server)
    return server
