"""The fleet under test: a tool for each behaviour. Run as `celery -A tests.fleet.fleet_app worker`."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import anyio
import anyio.from_thread
from celery import Celery, current_task
from celery.exceptions import Reject, SoftTimeLimitExceeded
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel

from asyncmcp_kombu import mcp_task, serve_mcp

app = Celery("testfleet")
serve_mcp(app)


@mcp_task
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@mcp_task(name="echo_async", title="Echo", description="Say it again.")
async def echo(text: str) -> str:
    await anyio.sleep(0)
    return text


class Inner(BaseModel):
    n: int


class Outer(BaseModel):
    inners: list[Inner]


@mcp_task
def nested(outer: Outer) -> Outer:
    """Double every number."""
    assert isinstance(outer, Outer)
    return Outer(inners=[Inner(n=inner.n * 2) for inner in outer.inners])


@mcp_task
async def progress(ctx: Context, steps: int) -> str:
    """Report progress `steps` times."""
    for step in range(steps):
        await ctx.report_progress(step + 1, steps, f"{step + 1}/{steps}")
    return "done"


@mcp_task
def sync_progress(ctx: Context, steps: int) -> str:
    """Report progress from a sync tool."""
    for step in range(steps):
        anyio.from_thread.run(ctx.report_progress, step + 1, steps)
    return "done"


@mcp_task
def fails(text: str) -> str:
    """Crash with a secret."""
    raise KeyError(text)


@mcp_task
def refuses(text: str) -> str:
    """Fail deliberately."""
    raise ToolError(text)


@mcp_task
def protocol_error() -> str:
    """Answer with a JSON-RPC error."""
    raise MCPError(code=-32007, message="not today", data={"why": "weekend"})


@mcp_task
def exits() -> str:
    """Raise SystemExit."""
    raise SystemExit(3)


@mcp_task(time_limit=1 if os.environ.get("FLEET_POOL", "prefork") == "prefork" else None)
def hangs() -> str:
    """Run into the hard time limit."""
    time.sleep(60)
    return "never"


@mcp_task(soft_time_limit=1 if os.environ.get("FLEET_POOL", "prefork") == "prefork" else None)
def cleans_up() -> str:
    """Run into the soft time limit and say so."""
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        return "cleaned up"
    return "never"


@mcp_task(soft_time_limit=1)
async def async_hangs() -> str:
    """Run into the soft time limit in the event loop."""
    await anyio.sleep(60)
    return "never"


@mcp_task(time_limit=1)
async def async_hangs_hard() -> str:
    """Run into the hard time limit in the event loop."""
    await anyio.sleep(60)
    return "never"


@mcp_task
def dies(mark: str, times: int) -> str:
    """Kill the pool child the first `times` times."""
    count = len(Path(mark).read_text()) if Path(mark).exists() else 0
    with Path(mark).open("a") as file:
        file.write("x")
    if count < times:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"survived after {count}"


@mcp_task(delivery="at-most-once")
def dies_once(mark: str) -> str:
    """Kill the pool child; must not run again."""
    with Path(mark).open("a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


@mcp_task(autoretry_for=(ValueError,), max_retries=3, default_retry_delay=0)
def retried(mark: str, failures: int) -> str:
    """Fail the first `failures` times."""
    with Path(mark).open("a") as file:
        file.write("x")
    tried = len(Path(mark).read_text())
    if tried <= failures:
        raise ValueError(f"try {tried} failed")
    return f"try {tried} worked"


@mcp_task(autoretry_for=(ValueError,), max_retries=3, default_retry_delay=0)
async def retried_async(mark: str, failures: int) -> str:
    """The same for an async tool."""
    with Path(mark).open("a") as file:
        file.write("x")
    tried = len(Path(mark).read_text())
    if tried <= failures:
        raise ValueError(f"try {tried} failed")
    return f"try {tried} worked"


@mcp_task(bind=True, max_retries=2, default_retry_delay=0)
def bound(self, ctx: Context, n: int) -> dict[str, int]:
    """Retry by hand, with a context, as a bound task."""
    if self.request.retries < n:
        raise self.retry()
    return {"retries": self.request.retries}


@mcp_task
def rejects() -> str:
    """Give the call up."""
    raise Reject("no", requeue=False)


@mcp_task
def large(size: int) -> str:
    """Answer with that many characters."""
    return "x" * size


@mcp_task(rate_limit="2/s")
def limited(n: int) -> int:
    """At most two a second."""
    return n


@mcp_task(queue=os.environ.get("ASYNCMCP_PREFIX", "") + "gpu")
def on_gpu() -> str:
    """Run from a queue of its own."""
    return current_task.request.delivery_info["routing_key"]


@mcp_task
def sleeps(seconds: float, mark: str = "", tag: str = "") -> str:
    """Block for a while; leave a mark at start and end."""
    if mark:
        with Path(mark).open("a") as file:
            file.write(f"start {tag}\n")
    time.sleep(seconds)
    if mark:
        with Path(mark).open("a") as file:
            file.write(f"end {tag}\n")
    return tag or "slept"


@app.task(name="existing.multiply", bind=True)
def multiply(self, a: int, b: int) -> int:
    """An ordinary Celery task."""
    return a * b


mcp_task(multiply)
