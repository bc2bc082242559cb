"""A FastMCP on a fleet: `celery -A tests.server.fastmcp_app worker`. Needs fastmcp, which is no dependency."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import fastmcp
from celery import Celery
from fastmcp import FastMCP
from fastmcp.dependencies import CurrentFastMCP
from fastmcp.exceptions import ToolError
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from mcp_types import ElicitRequest, ElicitRequestFormParams, InputRequiredResult
from pydantic import BaseModel

from asyncmcp_kombu import mcp_task, serve_mcp

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


class Point(BaseModel):
    x: int
    y: int


class Signing(Middleware):
    """FastMCP's own kind of middleware."""

    async def on_call_tool(self, context: MiddlewareContext, call_next: CallNext) -> Any:
        result = await call_next(context)
        result.meta = {**(result.meta or {}), "com.example/signed": context.message.name}
        return result


@asynccontextmanager
async def lifespan(_: FastMCP) -> AsyncIterator[dict[str, str]]:
    mark = Path(os.environ["LIFESPAN_MARK"])
    with mark.open("a") as file:
        file.write(f"enter {os.getpid()}\n")
    yield {"greeting": "hello"}
    with mark.open("a") as file:
        file.write(f"leave {os.getpid()}\n")


def fastmcp_server(name: str = "fast") -> FastMCP:
    """A server with something of everything. Nobody else keeps a reference to it."""
    server = FastMCP(name, lifespan=lifespan, middleware=[Signing()])
    child = FastMCP("child")

    @child.tool
    def mounted() -> str:
        """A tool of a mounted server."""
        return "from below"

    server.mount(child, namespace="child")

    @server.tool
    async def greet(name: str, ctx: fastmcp.Context) -> str:
        """Greet, and report progress."""
        for step in range(3):
            await ctx.report_progress(step, 3)
        return f"{ctx.lifespan_context['greeting']} {name}"

    @server.tool
    def mirror(points: list[Point], by: FastMCP = CurrentFastMCP()) -> list[Point]:  # noqa: B008
        """A sync tool with models, and a dependency."""
        assert by.name == name
        return [Point(x=-one.x, y=-one.y) for one in points]

    @server.tool
    def refuses() -> str:
        """Fail deliberately."""
        raise ToolError("not today")

    @server.tool
    async def told(ctx: fastmcp.Context) -> dict[str, Any]:
        """What was in `_meta`."""
        assert ctx.request_context is not None
        return {"meta": dict(ctx.request_context.meta or {})}

    @server.tool
    async def waits() -> str:
        """Wait until cancelled; leave a mark when that happens."""
        Path(os.environ["CANCEL_MARK"]).write_text("started")
        try:
            await anyio.sleep(60)
        except anyio.get_cancelled_exc_class():
            Path(os.environ["CANCEL_MARK"]).write_text("cancelled")
            raise
        return "never"

    @server.tool
    async def rounds(ctx: fastmcp.Context) -> str | InputRequiredResult:
        """Ask in rounds; remember in requestState which process asked."""
        if ctx.input_responses is None:
            question = ElicitRequest(params=ElicitRequestFormParams(message="name?", requested_schema=SCHEMA))
            return InputRequiredResult(input_requests={"name": question}, request_state=f"asked by {os.getpid()}")
        answer: Any = ctx.input_responses["name"]
        return f"{answer.content['name']}, {ctx.request_state}, answered by {os.getpid()}"

    @server.tool
    async def asks(ctx: fastmcp.Context) -> str:
        """Ask the client's user, in a handshake version."""
        answer: Any = await ctx.elicit("who are you?", response_type=str)
        return f"{answer.action} {answer.data}"

    @server.resource("note://{name}")
    def note(name: str) -> str:
        return f"note {name}"

    @server.prompt
    def ask(topic: str) -> str:
        return f"Tell me about {topic}"

    return server


if "SERVED_AS" in os.environ:
    app = Celery("whatever")

    @mcp_task
    def beside(text: str) -> str:
        """A Celery tool beside FastMCP's own."""
        return text.upper()

    serve_mcp(app, fastmcp_server(os.environ["SERVED_AS"]))
