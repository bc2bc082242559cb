"""Registry: the tools of an app, put on the SDK's server under their names.

The SDK makes the schemas, validates arguments and converts results; a tool's entry there only hands the
validated arguments to the Celery task's `run` (with autoretry and whatever else Celery wraps around it).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, cast

from celery import Celery, Task
from celery.local import maybe_evaluate
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer
from mcp_types import CallToolRequestParams, ListToolsResult, PaginatedRequestParams

from asyncmcp_kombu.errors import ConfigurationError
from asyncmcp_kombu.server.fan_out import subscriptions_of
from asyncmcp_kombu.server.lowlevel import lowlevel_of
from asyncmcp_kombu.worker.execution import current_call
from asyncmcp_kombu.worker.served import Served
from asyncmcp_kombu.worker.tool import McpTask, adopt, wrapped_tasks


def tools_of(app: Celery) -> dict[str, McpTask]:
    """The app's tools by name, existing tasks that were wrapped included."""
    for promise, options in wrapped_tasks:
        task = cast(Task, maybe_evaluate(promise))
        registered = app.tasks.get(task.name)
        if registered is not None:
            adopt(registered, options)
    tasks = sorted(app.tasks.items())  # Celery makes shared tasks in no particular order
    return {name: task for name, task in tasks if isinstance(task, McpTask) and task.mcp_tool is not None}


def register_tools(app: Celery, served: Served) -> dict[str, McpTask]:
    """Put the app's tools on the server, once per process; returns them by name.

    Raises:
        ConfigurationError: the server has a tool of that name already.
    """
    tools = tools_of(app)
    if not tools:
        return tools
    own = served.server if isinstance(served.server, MCPServer) else served.lowlevel
    target = own if isinstance(own, MCPServer) else MCPServer(own.name, subscriptions=subscriptions_of(own))
    for name, task in tools.items():
        _add_tool(target, name, task)
    if isinstance(own, Server):
        _serve_beside(own, target, frozenset(tools))
    return tools


def _add_tool(server: MCPServer[Any], name: str, task: McpTask) -> None:
    options = task.mcp_tool
    assert options is not None
    if name in {tool.name for tool in server._tool_manager.list_tools()}:  # pyright: ignore[reportPrivateUsage]
        raise ConfigurationError(f"tool {name!r} is declared twice: by the server and by @mcp_task; rename one")
    server.add_tool(
        _entry(task, task.mcp_function or task.run),
        name=name,
        title=options.title,
        description=options.description or inspect.getdoc(task.mcp_function or task.run),
        annotations=options.annotations,
        icons=options.icons,
        meta=options.meta,
        structured_output=options.structured_output,
    )


def _entry(task: McpTask, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function that the SDK calls: it has the author's signature, and runs the Celery task's body."""

    @functools.wraps(function)
    async def entry(**arguments: Any) -> Any:
        call = current_call.get()
        if call is None:
            raise RuntimeError(f"tool {task.name!r} runs inside a Celery task only")
        return await call.run_body(task, arguments)

    return entry


def _serve_beside(own: Server[Any], ours: MCPServer[Any], names: frozenset[str]) -> None:
    """Let a low-level server list and call the app's tools besides its own."""
    list_own, call_own = own.get_request_handler("tools/list"), own.get_request_handler("tools/call")
    call_ours = lowlevel_of(ours).get_request_handler("tools/call")
    assert call_ours is not None

    async def list_tools(ctx: ServerRequestContext[Any], params: PaginatedRequestParams) -> Any:
        tools = await ours.list_tools()
        if list_own is None:
            return ListToolsResult(tools=tools)
        result = await list_own.handler(ctx, params)
        if isinstance(result, ListToolsResult) and result.next_cursor is None:
            return result.model_copy(update={"tools": [*result.tools, *tools]})
        return result

    async def call_tool(ctx: ServerRequestContext[Any], params: CallToolRequestParams) -> Any:
        entry = call_ours if call_own is None or params.name in names else call_own
        return await entry.handler(ctx, params)

    own.add_request_handler("tools/list", PaginatedRequestParams, list_tools)
    own.add_request_handler("tools/call", CallToolRequestParams, call_tool)
