"""Put the Tasks extension on a server, whichever kind it is: through the low-level server's public registry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.server.extension import MethodBinding, compose_tool_call_handler
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolRequestParams, ListToolsResult, PaginatedRequestParams, SubscriptionsListenRequestParams
from mcp_types.jsonrpc import METHOD_NOT_FOUND

from asyncmcp_kombu.errors import ConfigurationError
from asyncmcp_kombu.tasks.companions import COMPANIONS, call_companion, with_token
from asyncmcp_kombu.tasks.extension import Tasks
from asyncmcp_kombu.tasks.listening import listen
from asyncmcp_kombu.tasks.modes import declares_tasks, mode_of
from asyncmcp_kombu.tasks.runtime import TaskRuntime
from asyncmcp_kombu.worker.execution import current_call
from asyncmcp_kombu.worker.tool import McpTask

Context = ServerRequestContext[Any, Any]
Handler = Callable[[Context, Any], Awaitable[HandlerResult]]


def install_tasks(server: Server[Any], runtime: TaskRuntime, tools: dict[str, McpTask]) -> None:
    """Once per server, after its tools are known. Does nothing when none may become a task.

    Raises:
        ConfigurationError: a tool has the name of a companion.
    """
    if all(mode_of(tool) == "never" for tool in tools.values()):
        return
    if runtime.settings.task_fallback == "token" and (taken := sorted(COMPANIONS.keys() & tools.keys())):
        raise ConfigurationError(
            f"tool {taken[0]!r} has the name of a tool for clients without the Tasks extension; rename it, or set "
            "ASYNCMCP_TASK_FALLBACK=wait"
        )
    extension = Tasks(runtime, tools)
    for method in extension.methods():
        server.add_request_handler(method.method, method.params_type, _for_its_versions(method))
    server.extensions[extension.identifier] = extension.settings()
    call_tool = server.get_request_handler("tools/call")
    list_tools = server.get_request_handler("tools/list")
    assert call_tool is not None
    assert list_tools is not None
    server.add_request_handler(
        "tools/call",
        CallToolRequestParams,
        _with_companions(runtime, compose_tool_call_handler([extension], call_tool.handler)),
    )
    server.add_request_handler("tools/list", PaginatedRequestParams, _listing(runtime, tools, list_tools.handler))
    listening = server.get_request_handler("subscriptions/listen")
    if listening is not None:
        server.add_request_handler(
            "subscriptions/listen", SubscriptionsListenRequestParams, listen(runtime, listening.handler)
        )


def _for_its_versions(method: MethodBinding) -> Handler:
    async def handler(ctx: Context, params: Any) -> HandlerResult:
        if method.protocol_versions is not None and ctx.protocol_version not in method.protocol_versions:
            raise MCPError(METHOD_NOT_FOUND, "Method not found", method.method)
        return await method.handler(ctx, params)

    return handler


def _with_companions(runtime: TaskRuntime, call_tool: Handler) -> Handler:
    async def handler(ctx: Context, params: CallToolRequestParams) -> HandlerResult:
        if params.name in COMPANIONS and _needs_companions(runtime):
            return await call_companion(runtime, params.name, params.arguments or {})
        return await call_tool(ctx, params)

    return handler


def _listing(runtime: TaskRuntime, tools: dict[str, McpTask], list_tools: Handler) -> Handler:
    slow = {name for name, tool in tools.items() if mode_of(tool) in ("auto", "optional")}

    async def handler(ctx: Context, params: PaginatedRequestParams) -> HandlerResult:
        result = await list_tools(ctx, params)
        if not slow or not isinstance(result, ListToolsResult) or not _needs_companions(runtime):
            return result
        listed = [with_token(tool) if tool.name in slow else tool for tool in result.tools]
        more = [] if result.next_cursor is not None else list(COMPANIONS.values())
        return result.model_copy(update={"tools": [*listed, *more]})

    return handler


def _needs_companions(runtime: TaskRuntime) -> bool:
    """Whether the client that is being served may get a token."""
    call = current_call.get()
    return runtime.settings.task_fallback == "token" and call is not None and not declares_tasks(call.request)
