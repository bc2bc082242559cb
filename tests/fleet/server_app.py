"""Existing servers on a fleet: `SERVER_KIND` chooses an MCPServer or a low-level Server."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from celery import Celery
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)

from asyncmcp_kombu import mcp_task, serve_mcp

app = Celery("whatever")


@mcp_task
def declared_before(text: str) -> str:
    """A Celery tool beside the server's own."""
    return text.upper()


@asynccontextmanager
async def lifespan(_: Any) -> AsyncIterator[dict[str, str]]:
    mark = Path(os.environ["LIFESPAN_MARK"])
    with mark.open("a") as file:
        file.write(f"enter {os.getpid()}\n")
    yield {"greeting": "hello"}
    with mark.open("a") as file:
        file.write(f"leave {os.getpid()}\n")


def mcp_server() -> MCPServer[dict[str, str]]:
    server = MCPServer("existing", lifespan=lifespan)

    @server.tool()
    async def greet(name: str, ctx: Context) -> str:
        """A tool of the server's own."""
        await ctx.report_progress(1, 1)
        return f"{ctx.request_context.lifespan_context['greeting']} {name}"

    @server.resource("note://{name}")
    def note(name: str) -> str:
        return f"note {name}"

    @server.prompt()
    def ask(topic: str) -> str:
        return f"Tell me about {topic}"

    return server


def lowlevel_server() -> Server[dict[str, str]]:
    async def list_tools(ctx: ServerRequestContext[Any], params: PaginatedRequestParams | None) -> ListToolsResult:
        schema = {"type": "object", "properties": {"name": {"type": "string"}}}
        return ListToolsResult(tools=[Tool(name="greet", input_schema=schema)])

    async def call_tool(ctx: ServerRequestContext[Any], params: CallToolRequestParams) -> CallToolResult:
        text = f"{ctx.lifespan_context['greeting']} {(params.arguments or {}).get('name')}"
        return CallToolResult(content=[TextContent(type="text", text=text)])

    return Server("existing", lifespan=lifespan, on_list_tools=list_tools, on_call_tool=call_tool)


serve_mcp(app, mcp_server() if os.environ.get("SERVER_KIND") == "mcpserver" else lowlevel_server())


@mcp_task
def declared_after(n: int) -> int:
    """Another one."""
    return n + 1
