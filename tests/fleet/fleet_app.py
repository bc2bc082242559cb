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
from mcp.server.elicitation import AcceptedElicitation
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types import (
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
    SamplingMessage,
    TextContent,
)
from pydantic import BaseModel

from asyncmcp_kombu import mcp_task, serve_mcp

app = Celery("testfleet")
serve_mcp(app)

NAME_SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


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


@mcp_task(acks_late=False)
def dies_early(mark: str) -> str:
    """Kill the pool child; acknowledged before it started."""
    return dies(mark, 99)


@mcp_task(delivery="at-most-once", rate_limit="1/m")
def limited_once(mark: str, tag: str) -> str:
    """One starts; what comes within a minute after it is received, and waits in the worker."""
    return sleeps(0, mark, tag)


@mcp_task(delivery="at-most-once")
def sleeps_once(seconds: float, mark: str, tag: str) -> str:
    """As `sleeps`; must not be started twice."""
    return sleeps(seconds, mark, tag)


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


@mcp_task(bind=True, max_retries=1)
def retries_later(self, mark: str, delay: float) -> str:
    """Try again after that many seconds, once."""
    with Path(mark).open("a") as file:
        file.write("x")
    if self.request.retries == 0:
        raise self.retry(countdown=delay)
    return "done"


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


@mcp_task(queue=os.environ.get("ASYNCMCP_PREFIX", "") + "gpu")
def kills_its_worker(mark: str) -> None:
    """End all processes of its worker, which takes calls from a queue of their own."""
    with Path(mark).open("a") as file:
        file.write("try\n")
    os.killpg(os.getpgrp(), signal.SIGKILL)


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


@mcp_task
async def waits(mark: str) -> str:
    """Wait until cancelled; leave a mark at start and when cancelled."""
    Path(mark).write_text(f"started {os.getpid()}")
    try:
        await anyio.sleep(60)
    except BaseException as error:
        Path(mark).write_text(f"ended by {type(error).__name__}")
        raise
    return "never"


@mcp_task
def polls(mark: str) -> str:
    """Work in steps, and look between them whether the caller still waits."""
    Path(mark).write_text(f"started {os.getpid()}")
    try:
        for _ in range(600):
            anyio.from_thread.check_cancelled()
            time.sleep(0.05)
    except BaseException as error:
        Path(mark).write_text(f"ended by {type(error).__name__}")
        raise
    return "never"


class Answer(BaseModel):
    name: str


@mcp_task
async def asks(ctx: Context) -> str:
    """Ask the client's user, its model and its roots."""
    session = ctx.request_context.session
    answer = await ctx.elicit("who are you?", Answer)
    roots = await session.list_roots()
    sample = await session.create_message(
        [SamplingMessage(role="user", content=TextContent(type="text", text="hello"))],
        max_tokens=10,
        related_request_id=ctx.request_id,
    )
    assert isinstance(answer, AcceptedElicitation)
    assert isinstance(sample.content, TextContent)
    return f"{answer.data.name} {roots.roots[0].uri} {sample.content.text}"


@mcp_task
def sync_asks(ctx: Context) -> str:
    """Ask the client's user from a sync tool."""
    answer = anyio.from_thread.run(ctx.elicit, "who are you?", Answer)
    assert isinstance(answer, AcceptedElicitation)
    return answer.data.name


@mcp_task
async def rounds(ctx: Context) -> str | InputRequiredResult:
    """Ask in rounds, as since 2026-07-28; remember in requestState which process asked."""
    if ctx.input_responses is None:
        question = ElicitRequest(params=ElicitRequestFormParams(message="name?", requested_schema=NAME_SCHEMA))
        return InputRequiredResult(input_requests={"name": question}, request_state=f"asked by {os.getpid()}")
    answer = ctx.input_responses["name"]
    assert isinstance(answer, ElicitResult)
    return f"{(answer.content or {})['name']}, {ctx.request_state}, answered by {os.getpid()}"


@mcp_task
async def publishes(ctx: Context, uri: str) -> str:
    """Tell whoever listens."""
    await ctx.notify_tools_changed()
    await ctx.notify_resource_updated(uri)
    return "told"


@app.task(name="existing.multiply", bind=True)
def multiply(self, a: int, b: int) -> int:
    """An ordinary Celery task."""
    return a * b


mcp_task(multiply)
