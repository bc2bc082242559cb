"""Companions: `task_result` and `task_cancel`, two tools for clients that do not know the Tasks extension."""

from __future__ import annotations

from typing import Any

from mcp_types import CallToolResult, TextContent, Tool, ToolAnnotations

from asyncmcp_kombu.tasks import caller
from asyncmcp_kombu.tasks.record import TaskRecord
from asyncmcp_kombu.tasks.runtime import TaskRuntime
from asyncmcp_kombu.tasks.token import CANCEL_TOOL, RESULT_TOOL, TOKEN_SCHEMA, token

_INPUT: dict[str, Any] = {
    "type": "object",
    "properties": {"task_id": {"type": "string", "description": "the taskId that the slow call answered with"}},
    "required": ["task_id"],
}

COMPANIONS = {
    tool.name: tool
    for tool in (
        Tool(
            name=RESULT_TOOL,
            title="Result of a task",
            description="The result of a call that goes on in the background, or how far it has come.",
            input_schema=_INPUT,
            annotations=ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False),
        ),
        Tool(
            name=CANCEL_TOOL,
            title="Cancel a task",
            description="Stop a call that goes on in the background.",
            input_schema=_INPUT,
            annotations=ToolAnnotations(destructive_hint=True, idempotent_hint=True, open_world_hint=False),
        ),
    )
}


async def call_companion(runtime: TaskRuntime, name: str, arguments: dict[str, Any]) -> CallToolResult | dict[str, Any]:
    """Serve a companion.

    Raises:
        MCPError: -32602, there is no such task for this caller.
    """
    record = await caller.known(runtime, str(arguments.get("task_id")), "retrieve")
    if name == CANCEL_TOOL:
        await caller.cancel(runtime, record)
        record = record if record.task.ended else record.with_status("cancelled")
        return _told(record, f"The task is {record.task.status}.")
    record = await caller.seen(runtime, record)
    task = record.task
    if task.status == "completed" and task.result is not None:
        return task.result
    if task.status == "failed":
        return _told(record, f"The task failed: {task.status_message}", is_error=True)
    if task.status == "input_required":
        return _told(record, "The task waits for answers, which only a client with the Tasks extension can give.")
    said = f": {task.status_message}" if task.status_message else ""
    return _told(record, f"The task is {task.status}{said}.")


def with_token(tool: Tool) -> Tool:
    """A slow tool as such a client sees it: its structured content may be a token."""
    if tool.output_schema is None:
        return tool
    either = {"type": "object", "anyOf": [tool.output_schema, TOKEN_SCHEMA]}
    definitions = tool.output_schema.get("$defs")
    return tool.model_copy(update={"output_schema": {**either, "$defs": definitions} if definitions else either})


def _told(record: TaskRecord, text: str, *, is_error: bool = False) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(type="text", text=text)], structured_content=token(record), is_error=is_error
    )
