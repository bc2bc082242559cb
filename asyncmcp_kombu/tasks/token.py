"""Tokens: tasks for clients that do not know the extension: an ordinary result, and two tools to come back with."""

from __future__ import annotations

from typing import Any

from asyncmcp_kombu.tasks.record import TaskRecord
from asyncmcp_kombu.worker.tool import McpTask

RESULT_TOOL, CANCEL_TOOL = "task_result", "task_cancel"

TOKEN_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "status": {"type": "string", "enum": ["working", "input_required", "completed", "cancelled", "failed"]},
        "taskId": {"type": "string", "description": f"token for {RESULT_TOOL} and {CANCEL_TOOL}"},
        "statusMessage": {"type": "string"},
    },
    "required": ["status", "taskId"],
}
"""What stands in for a tool's own structured content while the work goes on."""


def token_result(record: TaskRecord, tool: McpTask) -> dict[str, Any]:
    """An ordinary result that says that the work goes on, and how to come back for it."""
    task_id = record.task.task_id
    text = (
        f"{tool.name} is still running; the work goes on in the background. Call the tool {RESULT_TOOL} with "
        f'{{"task_id": "{task_id}"}} for its result, or {CANCEL_TOOL} with the same to stop it.'
    )
    return {"content": [{"type": "text", "text": text}], "structuredContent": token(record), "isError": False}


def token(record: TaskRecord) -> dict[str, Any]:
    """What a client without the extension is told of a task that has not ended."""
    said = record.task.status_message
    told = {"status": record.task.status, "taskId": record.task.task_id}
    return {**told, "statusMessage": said} if said else told
