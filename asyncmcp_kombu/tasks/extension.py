"""The Tasks extension of the SDK's server: `tasks/get`, `tasks/update`, `tasks/cancel`, and calls that become tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver.server import require_client_extension
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp_types import CallToolRequestParams, RequestParams
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from asyncmcp_kombu.task_state import EXTENSION
from asyncmcp_kombu.tasks import caller
from asyncmcp_kombu.tasks.admission import admit, admit_in_place, within_budget
from asyncmcp_kombu.tasks.modes import declares_tasks, mode_of
from asyncmcp_kombu.tasks.runtime import TaskRuntime
from asyncmcp_kombu.worker.execution import current_call
from asyncmcp_kombu.worker.tool import McpTask

Context = ServerRequestContext[Any, Any]


class TaskParams(RequestParams):
    """Of `tasks/get` and `tasks/cancel`."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow")

    task_id: str


class UpdateParams(TaskParams):
    """Of `tasks/update`."""

    input_responses: dict[str, Any]


class Tasks(Extension):
    """What `serve_mcp` adds to the server when the app has tools that may become tasks."""

    identifier = EXTENSION

    def __init__(self, runtime: TaskRuntime, tools: dict[str, McpTask]) -> None:
        self._runtime, self._tools = runtime, tools

    def methods(self) -> Sequence[MethodBinding]:
        versions = frozenset(MODERN_PROTOCOL_VERSIONS)
        return (
            MethodBinding("tasks/get", TaskParams, self._get, versions),
            MethodBinding("tasks/update", UpdateParams, self._update, versions),
            MethodBinding("tasks/cancel", TaskParams, self._cancel, versions),
        )

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: Context, call_next: CallNext
    ) -> HandlerResult:
        call, tool = current_call.get(), self._tools.get(params.name)
        mode = mode_of(tool)
        if call is None or tool is None or mode == "never":
            return await call_next(ctx)
        if call.job is not None:
            return await _inside_a_task(ctx, call_next)
        if mode == "required":
            require_client_extension(ctx, EXTENSION)
        declared = declares_tasks(call.request)
        if declared and call.in_place:
            return await admit_in_place(self._runtime, tool, call, ctx, lambda: _inside_a_task(ctx, call_next))
        if declared and mode != "auto":
            return await admit(self._runtime, tool, call, lambda: call_next(ctx))
        return await within_budget(
            self._runtime, tool, call, ctx, lambda: _inside_a_task(ctx, call_next), declared=declared
        )

    async def _get(self, ctx: Context, params: TaskParams) -> dict[str, Any]:
        require_client_extension(ctx, EXTENSION)
        record = await caller.known(self._runtime, params.task_id, "retrieve")
        return (await caller.seen(self._runtime, record)).task.on_the_wire()

    async def _update(self, ctx: Context, params: UpdateParams) -> dict[str, Any]:
        require_client_extension(ctx, EXTENSION)
        record = await caller.known(self._runtime, params.task_id, "update")
        await caller.answer(self._runtime, record, params.input_responses)
        return {}

    async def _cancel(self, ctx: Context, params: TaskParams) -> dict[str, Any]:
        require_client_extension(ctx, EXTENSION)
        record = await caller.known(self._runtime, params.task_id, "cancel")
        await caller.cancel(self._runtime, record)
        return {}


async def _inside_a_task(ctx: Context, call_next: CallNext) -> HandlerResult:
    try:
        return await call_next(ctx)
    except NoBackChannelError as error:
        raise MCPError(
            error.error.code,
            f"{error.error.message}. Inside a task, return InputRequiredResult(input_requests=...) and read the "
            "answers from ctx.input_responses when the tool is entered again",
        ) from error
