"""A client process with many idle sessions: `python -m benchmarks.idle URL SESSIONS`, then one call, then nothing."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time

import anyio
from mcp import Client

from asyncmcp_kombu import kombu_client


async def main(url: str, sessions: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients: list[Client] = []
        for _ in range(sessions):
            client = Client(kombu_client(url, server="bench"), read_timeout_seconds=120)
            clients.append(await stack.enter_async_context(client))
        times: list[float] = []
        for client in clients[:: max(1, sessions // 5)]:
            began = time.perf_counter()
            await client.call_tool("echo", {"text": "first"})
            times.append((time.perf_counter() - began) * 1_000)
        told = {"threads": threading.active_count(), "first_call": sorted(times)[len(times) // 2]}
        print(json.dumps(told), flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], int(sys.argv[2]))
