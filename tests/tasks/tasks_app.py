"""A fleet with tasks: a tool for each promise. Run as `celery -A tests.tasks.tasks_app worker`."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Annotated

import anyio
import anyio.from_thread
from celery import Celery
from mcp.server.elicitation import AcceptedElicitation
from mcp.server.mcpserver import Context, Elicit, Resolve
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult
from pydantic import BaseModel

from asyncmcp_kombu import mcp_task, serve_mcp

app = Celery("testfleet")
# Keys of the result backend carry the test's prefix, so that they are found and removed with its queues.
app.conf.result_backend_transport_options = {"global_keyprefix": os.environ.get("ASYNCMCP_PREFIX", "")}
serve_mcp(app)

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def note(mark: str, text: str) -> None:
    if mark:
        with Path(mark).open("a") as file:
            file.write(text + "\n")


# --- the modes ---


@mcp_task(task="optional")
def double(n: int) -> int:
    """A quick tool that becomes a task for every client that knows tasks."""
    return n * 2


@mcp_task(task="required")
async def steps(ctx: Context, steps: int, pause: float = 0.0, mark: str = "") -> str:
    """Report progress; goes on after each pause."""
    for step in range(1, steps + 1):
        await ctx.report_progress(step, steps, f"step {step}")
        note(mark, f"step {step}")
        await anyio.sleep(pause)
    return "done"


@mcp_task(task="auto")
async def slow(ctx: Context, seconds: float, mark: str = "") -> str:
    """Quick or slow, as asked."""
    note(mark, "start")
    await ctx.report_progress(1, 2, "half way")
    await anyio.sleep(seconds)
    note(mark, "end")
    return f"slept {seconds}"


class Report(BaseModel):
    seconds: float


class Reports(BaseModel):
    reports: list[Report]


@mcp_task(task="auto")
async def slow_reports(seconds: float) -> Reports:
    """An output schema with definitions."""
    await anyio.sleep(seconds)
    return Reports(reports=[Report(seconds=seconds)])


@mcp_task
def never(n: int) -> int:
    """No task, whoever calls."""
    return n + 1


@mcp_task(task="optional", ttl=1)
def brief() -> str:
    """A task that is soon forgotten."""
    return "brief"


# --- how tasks end ---


@mcp_task(task="required")
def boom() -> str:
    """A tool's own error."""
    raise ToolError("boom")


@mcp_task(task="required")
def protocol_error() -> str:
    """An error of the protocol."""
    raise MCPError(-32050, "no such thing")


@mcp_task(task="required", autoretry_for=(ValueError,), max_retries=2, default_retry_delay=0)
def retries(mark: str, succeed_at: int = 0) -> str:
    """Fail, on each try or until one."""
    note(mark, "try")
    if succeed_at and len(Path(mark).read_text().splitlines()) >= succeed_at:
        return "made it"
    raise ValueError("again")


@mcp_task(task="auto", autoretry_for=(ValueError,), max_retries=3, default_retry_delay=0)
async def auto_retries(mark: str) -> str:
    """Become a task, fail once, and then be quick."""
    note(mark, "try")
    if len(Path(mark).read_text().splitlines()) < 2:
        await anyio.sleep(1.5)
        raise ValueError("again")
    return "made it"


@mcp_task(task="required")
def dies(mark: str) -> str:
    """End its process each time."""
    note(mark, "try")
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


@mcp_task(task="required")
def kills_its_worker(mark: str) -> str:
    """End all processes of its worker each time."""
    note(mark, f"try {len(Path(mark).read_text().splitlines()) + 1 if Path(mark).exists() else 1}")
    os.killpg(os.getpgrp(), signal.SIGKILL)
    return "never"


@mcp_task(task="required", time_limit=None if os.environ.get("FLEET_POOL", "prefork") != "prefork" else 2)
def hangs() -> str:
    """Run into the hard time limit (prefork)."""
    time.sleep(60)
    return "never"


# --- work that can be watched and stopped ---


@mcp_task(task="required")
def works(seconds: float, mark: str) -> str:
    """Note start and end, and block meanwhile."""
    note(mark, f"start {os.getpid()}")
    time.sleep(seconds)
    note(mark, f"end {os.getpid()}")
    return "worked"


@mcp_task(task="required")
async def waits(mark: str, seconds: float = 60) -> str:
    """Stops when it is cancelled."""
    note(mark, "start")
    try:
        await anyio.sleep(seconds)
    except BaseException as error:
        note(mark, f"stopped by {type(error).__name__}")
        raise
    return "waited"


@mcp_task(task="required")
def polls(mark: str) -> str:
    """A sync tool that looks whether it is cancelled."""
    note(mark, "start")
    until = time.monotonic() + 60
    try:
        while time.monotonic() < until:
            anyio.from_thread.check_cancelled()
            time.sleep(0.02)
    except BaseException as error:
        note(mark, f"stopped by {type(error).__name__}")
        raise
    return "never"


@mcp_task(task="required")
def deaf(ctx: Context, mark: str, go_on: str) -> str:
    """A sync tool that does not look, and reports progress."""
    note(mark, "start")
    until = time.monotonic() + 30
    while not Path(go_on).exists() and time.monotonic() < until:
        time.sleep(0.02)
    note(mark, "end")
    return "deaf"


@mcp_task(task="required")
async def holds(ctx: Context, go_on: str) -> str:
    """Say that it waits, and wait until a file is there."""
    await ctx.report_progress(0, message="holding")
    while not Path(go_on).exists():
        await anyio.sleep(0.05)
    return "done"


# --- questions ---


def question(message: str) -> ElicitRequest:
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=NAME))


def answered(ctx: Context, key: str) -> str:
    answer = (ctx.input_responses or {})[key]
    assert isinstance(answer, ElicitResult)
    return str((answer.content or {})["name"])


@mcp_task(task="required")
async def asks(ctx: Context, mark: str = "") -> str | InputRequiredResult:
    """Ask two things at once."""
    note(mark, f"entered by {os.getpid()}")
    if ctx.input_responses is None:
        requests = {"first": question("first name?"), "last": question("last name?")}
        return InputRequiredResult(input_requests=requests, request_state="asked once")
    return f"{answered(ctx, 'first')} {answered(ctx, 'last')}, {ctx.request_state}"


@mcp_task(task="required")
def asks_again(ctx: Context) -> str | InputRequiredResult:
    """Ask twice under one key."""
    said = [] if ctx.request_state is None else ctx.request_state.split(",")
    if ctx.input_responses is not None:
        said.append(answered(ctx, "name"))
    if len(said) < 2:
        return InputRequiredResult(
            input_requests={"name": question(f"name {len(said) + 1}?")}, request_state=",".join(said) or None
        )
    return " and ".join(said)


@mcp_task(task="auto")
async def slow_asks(ctx: Context, seconds: float) -> str | InputRequiredResult:
    """Ask when it is a task already."""
    if ctx.input_responses is None:
        await anyio.sleep(seconds)
        return InputRequiredResult(input_requests={"name": question("name?")})
    return answered(ctx, "name")


class Name(BaseModel):
    name: str


async def ask_name() -> Elicit[Name]:
    return Elicit("whose?", Name)


@mcp_task(task="required")
async def resolved(whose: Annotated[Name, Resolve(ask_name)], mark: str = "") -> str:
    """What a resolver asks is asked before there is a task."""
    note(mark, "entered")
    return f"for {whose.name}"


@mcp_task(task="required")
async def elicits(ctx: Context) -> str:
    """The idiom of older versions."""
    answer = await ctx.elicit("name?", Name)
    assert isinstance(answer, AcceptedElicitation)
    return answer.data.name


if os.environ.get("FLEET_POOL", "prefork") == "prefork":

    @mcp_task(task="required", terminate=True)
    def stubborn(mark: str) -> str:
        """Does not look, but may be ended."""
        note(mark, f"start {os.getpid()}")
        time.sleep(60)
        note(mark, "end")
        return "never"
