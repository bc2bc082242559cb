"""FastMCP 4.1.4 over Streamable HTTP with its task extension on Redis, in its own environment.

`server PORT REDIS_URL`, or the client of `benchmarks.caller`. The server's settings are FastMCP's defaults.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import anyio
import fastmcp_tasks  # noqa: F401  (without it the client declares no tasks)
from fastmcp import Client, FastMCP
from fastmcp_tasks import TasksExtension

from benchmarks.caller import parser, run_loads


def serve(port: int, redis_url: str) -> None:
    server: Any = FastMCP("bench")
    server.add_extension(TasksExtension(url=redis_url))

    @server.tool
    async def echo(text: str) -> str:
        return text

    @server.tool(task=True)
    async def echo_task(text: str) -> str:
        return text

    server.run(transport="http", host="127.0.0.1", port=port, show_banner=False, log_level="warning")


async def call(arguments: argparse.Namespace) -> None:
    async with Client(arguments.url, timeout=arguments.timeout) as client:

        async def echo(text: str) -> str:
            result: Any = await client.call_tool(arguments.tool, {"text": text})
            return str(result.structured_content["result"])

        await run_loads(echo, arguments)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        serve(int(sys.argv[2]), sys.argv[3])
    else:
        anyio.run(call, parser().parse_args())
