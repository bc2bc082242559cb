"""The low-level Server: lists in pages, tools without a schema's help, methods and notifications of its own."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated, ToolsListChanged
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    EmptyResult,
    InputRequiredResult,
    ListResourcesResult,
    ListToolsResult,
    NotificationParams,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    RequestParams,
    Resource,
    SetLevelRequestParams,
    TextContent,
    TextResourceContents,
    Tool,
)

from tests.interaction.servers import LOWLEVEL
from tests.interaction.servers.rounds import form, value

Ctx = ServerRequestContext[dict[str, int], Any]

SUM: Final = "com.example/sum"
MARK: Final = "notifications/com.example/mark"
TOOLS: Final = ("shout", "publish", "log", "ask", "boom", "process", "confirm")
SCHEMA: Final = {"type": "object", "properties": {"text": {"type": "string"}}}
CURSOR: Final = "page/{page} ✓ =?&"
PAGE: Final = 3


class SumParams(RequestParams):
    numbers: list[int]


class MarkParams(NotificationParams):
    path: str


def make() -> Server[dict[str, int]]:
    bus, state = InMemorySubscriptionBus(), {"pid": 0, "entered": 0}
    listening = ListenHandler(bus)

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncGenerator[dict[str, int]]:
        state.update(pid=os.getpid(), entered=state["entered"] + 1)
        yield state

    async def call_tool(ctx: Ctx, params: CallToolRequestParams) -> CallToolResult | InputRequiredResult:
        arguments = params.arguments or {}
        match params.name:
            case "shout":
                return _text(str(arguments["text"]).upper())
            case "publish":
                await bus.publish(ToolsListChanged())
                await bus.publish(ResourceUpdated(uri=str(arguments["uri"])))
                return _text("told")
            case "hang_up":
                listening.close()
                return _text("hung up")
            case "log":
                for level in ("debug", "warning", "error"):
                    await ctx.session.send_log_message(level, level, related_request_id=ctx.request_id)
                return _text("logged")
            case "ask":
                if params.input_responses is None:
                    return InputRequiredResult(input_requests={"q": form("Which?")}, request_state="not sealed")
                return _text(f"{value(params.input_responses['q'])}, {params.request_state}")
            case "process":
                return CallToolResult(content=[], structured_content=dict(ctx.lifespan_context))
            case "boom":
                raise ValueError("s3cret")
            case "confirm":
                schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
                answer = await ctx.session.elicit_form("Sure?", schema, related_request_id=ctx.request_id)
                return _text(f"{answer.action} {answer.content}")
            case _:
                raise MCPError(INVALID_PARAMS, f"Unknown tool: {params.name}")

    server = Server(
        LOWLEVEL,
        lifespan=lifespan,
        on_list_tools=_list_tools,
        on_call_tool=call_tool,
        on_list_resources=_list_resources,
        on_read_resource=_read_resource,
        on_subscribe_resource=_accept,
        on_unsubscribe_resource=_accept,
        on_subscriptions_listen=listening,
    )
    server.add_request_handler("logging/setLevel", SetLevelRequestParams, _accept)
    server.add_request_handler(SUM, SumParams, _sum)
    server.add_notification_handler(MARK, MarkParams, _mark)
    server.add_notification_handler("notifications/roots/list_changed", NotificationParams, _roots_changed)
    return server


async def _accept(ctx: Ctx, params: RequestParams) -> EmptyResult:
    return EmptyResult()


async def _list_tools(ctx: Ctx, params: PaginatedRequestParams | None) -> ListToolsResult:
    start, following = _page(params, len(TOOLS))
    tools = [Tool(name=name, input_schema=SCHEMA) for name in TOOLS[start : start + PAGE]]
    return ListToolsResult(tools=tools, next_cursor=following)


async def _list_resources(ctx: Ctx, params: PaginatedRequestParams | None) -> ListResourcesResult:
    start, following = _page(params, 4)
    resources = [Resource(uri=f"page://{n}", name=str(n)) for n in range(start, min(4, start + PAGE))]
    return ListResourcesResult(resources=resources, next_cursor=following)


def _page(params: PaginatedRequestParams | None, size: int) -> tuple[int, str | None]:
    """Where this page starts, and the cursor of the next."""
    cursor = None if params is None else params.cursor
    cursors = {CURSOR.format(page=n): n * PAGE for n in range(1, -(-size // PAGE))}
    if cursor is not None and cursor not in cursors:
        raise MCPError(INVALID_PARAMS, "no such cursor", {"cursor": cursor})
    start = 0 if cursor is None else cursors[cursor]
    return start, CURSOR.format(page=start // PAGE + 1) if start + PAGE < size else None


async def _read_resource(ctx: Ctx, params: ReadResourceRequestParams) -> ReadResourceResult:
    return ReadResourceResult(contents=[TextResourceContents(uri=params.uri, text=f"content of {params.uri}")])


async def _sum(ctx: Ctx, params: SumParams) -> dict[str, Any]:
    await ctx.session.report_progress(1, 1)
    return {"sum": sum(params.numbers), "asked": ctx.method}


async def _mark(ctx: Ctx, params: MarkParams) -> None:
    Path(params.path).write_text(f"marked {ctx.protocol_version}")


async def _roots_changed(ctx: Ctx, params: NotificationParams) -> None:
    """Leave a mark in the file that the client's only root names."""
    (root,) = (await ctx.session.list_roots()).roots
    Path(root.uri.path or "").write_text(root.name or "")


def _text(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text)])
