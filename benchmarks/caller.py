"""One client process: calls a tool so often, so many at a time, and tells what it took as one line of JSON.

Works with mcp 2 (`ours`, `http`); the peers have callers of their own that tell the same (`peers/`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import anyio

Call = Callable[[str], Awaitable[str]]


async def measure(call: Call, *, count: int, in_flight: int) -> dict[str, Any]:
    """Call `count` times, `in_flight` at a time; every answer is looked at. Times are in ms."""
    times: list[float] = []
    failures: list[str] = []
    numbers = iter(range(count))
    cpu, began = time.process_time(), time.perf_counter()

    async def caller() -> None:
        for n in numbers:
            start, text = time.perf_counter(), f"text {n}"
            try:
                if await call(text) != text:
                    raise ValueError("a wrong answer")
            except Exception as error:
                failures.append(f"{type(error).__name__}: {error}"[:200])
            else:
                times.append((time.perf_counter() - start) * 1_000)

    async with anyio.create_task_group() as tasks:
        for _ in range(in_flight):
            tasks.start_soon(caller)
    took = time.perf_counter() - began
    return summary(times, failures, took, (time.process_time() - cpu) / count * 1_000)


def summary(times: list[float], failures: list[str], took: float, client_cpu: float) -> dict[str, Any]:
    times = sorted(times) or [float("nan")]
    return {
        "calls": len(times),
        "failed": len(failures),
        "first_failure": failures[0] if failures else None,
        "per_second": len(times) / took,
        "p50": times[len(times) // 2],
        "p99": times[min(len(times) - 1, len(times) * 99 // 100)],
        "client_cpu": client_cpu,
        "took": took,
    }


@contextlib.asynccontextmanager
async def connected(arguments: argparse.Namespace) -> AsyncGenerator[Call]:
    from mcp import Client

    options: dict[str, Any] = {"read_timeout_seconds": arguments.timeout}
    if arguments.road == "http":
        target: Any = arguments.url
    else:
        from asyncmcp_kombu import TasksExtension, kombu_client

        target = kombu_client(arguments.url, server="bench")
        if "task" in arguments.tool:
            options["extensions"] = [TasksExtension()]

    async with Client(target, **options) as client:

        async def call(text: str) -> str:
            if arguments.tool == "nap":
                await client.call_tool("nap", {"seconds": 1.0 if text.startswith("text") else 0.0})
                return text
            result = await client.call_tool(arguments.tool, {"text": text})
            return str((result.structured_content or {})["result"])

        yield call


async def main(arguments: argparse.Namespace) -> None:
    async with connected(arguments) as call:
        await run_loads(call, arguments)


async def run_loads(call: Call, arguments: argparse.Namespace) -> None:
    """Run the loads one after the other, each when the parent process says so."""
    for in_flight, count in (tuple(map(int, one.split("x"))) for one in arguments.loads):
        if not arguments.cold:
            await measure(call, count=2 * in_flight, in_flight=in_flight)
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(await measure(call, count=count, in_flight=in_flight)), flush=True)
        sys.stdin.readline()


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("road", choices=["ours", "http", "asyncmcp", "fastmcp"])
    arguments.add_argument("url")
    arguments.add_argument("loads", nargs="+", help="as 64x2000: 64 at a time, 2000 in all")
    arguments.add_argument("--tool", default="echo")
    arguments.add_argument("--cold", action="store_true", help="do not warm up")
    arguments.add_argument("--timeout", type=float, default=120)
    return arguments


if __name__ == "__main__":
    anyio.run(main, parser().parse_args())
