"""The server behind the queue in these tests: tools for everything that a bridge must carry."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    SamplingMessage,
    TextContent,
)
from pydantic import BaseModel, Field

from asyncmcp_kombu import Settings, serve

NAME = "behind"


class Address(BaseModel):
    street: str


class FarServer:
    """Served over a queue in this process, so that a test can look at what happened in it."""

    def __init__(self) -> None:
        self.server = MCPServer(NAME, instructions="Use the tools.", log_level="WARNING")
        self.server._lowlevel_server.middleware.append(self._count)  # pyright: ignore[reportPrivateUsage]
        self.seen: Counter[str] = Counter()
        self.params: dict[str, Any] = {}
        self.started, self.cancelled, self.go_on = anyio.Event(), anyio.Event(), anyio.Event()
        self._add_tools()

    async def _count(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        self.seen[ctx.method] += 1
        self.params[ctx.method] = ctx.params
        return await call_next(ctx)

    def _add_tools(self) -> None:
        server = self.server

        @server.tool()
        async def add(a: int, b: int) -> int:
            """Add two numbers."""
            return a + b

        @server.tool()
        async def nothing() -> dict[str, Any]:
            """Return nulls, which must not get lost."""
            return {"a": None, "b": {"c": None}}

        @server.tool()
        async def counts(ctx: Context, name: str, steps: int) -> str:
            """Report progress and log, by turns."""
            for step in range(steps):
                await ctx.report_progress(step, steps, name)
                await ctx.info(f"{name} {step}")  # pyright: ignore[reportDeprecated]
            return f"{name} done"

        @server.tool()
        async def breathes(ctx: Context, times: int, pause: float) -> str:
            """Take long, and say now and then that it is alive."""
            for n in range(times):
                await anyio.sleep(pause)
                await ctx.report_progress(n, times)
            return "alive"

        @server.tool()
        async def hangs_up(ctx: Context) -> str:
            """Have the HTTP stream closed, and answer when the caller may have come back."""
            await ctx.report_progress(1)
            await ctx.close_sse_stream()
            await self.go_on.wait()
            return "back"

        @server.tool()
        async def waits() -> str:
            """Wait until cancelled, or told to go on."""
            self.started.set()
            try:
                await self.go_on.wait()
            except anyio.get_cancelled_exc_class():
                self.cancelled.set()
                raise
            return "went on"

        @server.tool()
        async def refuses() -> str:
            """Fail with an error of its own."""
            raise MCPError(-32007, "not today", {"tomorrow": True, "nested": [None]})

        @server.tool()
        async def regional(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
            """Want its argument in a header, too."""
            return region

        @server.tool()
        async def changes(ctx: Context) -> str:
            """Say that the tools have changed."""
            await ctx.notify_tools_changed()
            return "said"

        @server.tool()
        async def asks(ctx: Context) -> str:
            """Ask the user where they live, between two progress reports."""
            await ctx.report_progress(1, 2)
            answer = await ctx.elicit("Where do you live?", Address)
            await ctx.report_progress(2, 2)
            return answer.data.street if answer.action == "accept" else answer.action

        @server.tool()
        async def withdraws(ctx: Context) -> str:
            """Ask the user, and do without the answer when told to go on."""
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ctx.elicit, "Quick!", Address)
                await self.go_on.wait()
                tasks.cancel_scope.cancel()
            return "too late"

        @server.tool()
        async def thinks(ctx: Context) -> str:
            """Ask the client's model."""
            question = SamplingMessage(role="user", content=TextContent(type="text", text="1 + 1?"))
            answer = await ctx.session.create_message([question], max_tokens=5)  # pyright: ignore[reportDeprecated]
            return str(answer.content)

        @server.tool()
        async def looks(ctx: Context) -> list[str]:
            """Ask for the client's roots."""
            roots = await ctx.session.list_roots()  # pyright: ignore[reportDeprecated]
            return [str(root.uri) for root in roots.roots]

        @server.tool()
        async def thinks_aloud(ctx: Context) -> list[float]:
            """Ask the client's model, and hear of its progress."""
            heard: list[float] = []

            async def on_progress(progress: float, total: float | None, message: str | None) -> None:
                heard.append(progress)

            question = SamplingMessage(role="user", content=TextContent(type="text", text="1 + 1?"))
            request = CreateMessageRequest(params=CreateMessageRequestParams(messages=[question], max_tokens=5))
            related = ServerMessageMetadata(related_request_id=ctx.request_id)
            await ctx.session.send_request(
                request, CreateMessageResult, metadata=related, progress_callback=on_progress
            )
            return heard

        @server.tool()
        async def announces(ctx: Context) -> str:
            """Send what belongs to no request."""
            await ctx.session.send_tool_list_changed()
            return "announced"

        @server.resource("note://{name}")
        def note(name: str) -> str:
            return f"a note on {name}"

        @server.prompt()
        def greet(name: str) -> str:
            return f"Greet {name}"


@asynccontextmanager
async def served(settings: Settings) -> AsyncGenerator[FarServer]:
    """A far server that takes requests from the queue."""
    far = FarServer()

    async def run(*, task_status: Any) -> None:
        await serve(far.server, settings=settings, task_status=task_status)

    async with anyio.create_task_group() as tasks:
        await tasks.start(run)
        yield far
        tasks.cancel_scope.cancel()
