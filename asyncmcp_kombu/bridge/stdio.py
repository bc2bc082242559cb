"""The bridge over stdio: the process is the server of one host, which started it and ends it."""

from __future__ import annotations

import sys
from typing import Any, cast

import anyio
from mcp.server.stdio import stdio_server

from asyncmcp_kombu.bridge.forward import Bridge
from asyncmcp_kombu.bridge.stdin import Lines

_LEAVING = 0.3
"""Seconds after the end of input in which the SDK may end by itself. It does not while `initialize` is under way."""


async def serve_stdio(bridge: Bridge, stop: anyio.Event) -> None:
    """Serve until the host closes standard input or `stop` is set; then it takes less than a second.

    Requests under way are cancelled on the far side. Standard output carries JSON-RPC only: the SDK points what is
    printed otherwise at standard error.

    Raises:
        BrokerUnreachable: the broker cannot be reached at the start.
    """
    scope = anyio.CancelScope()
    lines = Lines(sys.stdin.fileno())

    async def leave_when_stopped() -> None:
        await stop.wait()
        scope.cancel()

    async def leave_at_the_end_of_input() -> None:
        await lines.ended.wait()
        scope.deadline = anyio.current_time() + _LEAVING

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(leave_when_stopped)
        tasks.start_soon(leave_at_the_end_of_input)
        with scope:
            stdin: Any = lines  # an AsyncFile is only iterated over
            async with stdio_server(stdin=cast("anyio.AsyncFile[str]", stdin)) as (read, write):
                await bridge.server.run(read, write, bridge.server.create_initialization_options())
        tasks.cancel_scope.cancel()
