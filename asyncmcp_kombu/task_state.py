"""What a task is: its states and fields on the wire, the one thing that client and server share about tasks.

SEP-2663, https://github.com/modelcontextprotocol/ext-tasks/blob/main/specification/2026-07-28/tasks.md
"""

from __future__ import annotations

from typing import Any, Literal

from mcp_types import Result
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

EXTENSION = "io.modelcontextprotocol/tasks"
"""The extension's identifier."""

Status = Literal["working", "input_required", "completed", "cancelled", "failed"]
TERMINAL: frozenset[str] = frozenset({"completed", "cancelled", "failed"})

STATUS_NOTIFICATION = "notifications/tasks"


class Task(BaseModel):
    """A task as both sides see it.

    Attributes:
        created_at, last_updated_at: ISO 8601, UTC.
        ttl_ms: milliseconds from creation after which the server may forget the task; None: never.
        poll_interval_ms: milliseconds that a client should let pass between two looks.
        result: of a completed task, what `tools/call` would have answered.
        error: of a failed task, the JSON-RPC error.
        input_requests: of a task that waits for input, what is asked, by key.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")

    task_id: str
    status: Status
    status_message: str | None = None
    created_at: str
    last_updated_at: str
    ttl_ms: int | None
    poll_interval_ms: int | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    input_requests: dict[str, Any] | None = None

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL

    def on_the_wire(self, *, detailed: bool = True) -> dict[str, Any]:
        """As JSON data; without what only `tasks/get` and notifications carry unless `detailed`."""
        exclude = None if detailed else {"result", "error", "input_requests"}
        data = self.model_dump(by_alias=True, exclude_none=True, exclude=exclude)
        return {**data, "ttlMs": self.ttl_ms}


class CreateTaskResult(Result):
    """What `tools/call` answers instead of a result: the handle of a task (`resultType: "task"`)."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow")

    result_type: Literal["task"] = "task"
    task_id: str
    status: Status
    status_message: str | None = None
    created_at: str
    last_updated_at: str
    ttl_ms: int | None
    poll_interval_ms: int | None = None
