"""Record: all that is kept of a task, as JSON data in Celery's result backend."""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter

from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.server.keys import derived
from asyncmcp_kombu.task_state import Status, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """A task and what it takes to run it (again).

    Attributes:
        message: the `tools/call` as it arrived.
        principal: whom the broker vouches for as the caller; others do not see the task.
        pushes: its creator is told of every change without asking.
        leg: how often the tool has been entered, counting from 1.
        asked: what is asked: the key on the wire, and the tool's own.
        request_state: what the SDK sealed for the next leg.
        expires_at, ended_at: epoch seconds.
    """

    task: Task
    tool: str
    message: dict[str, Any]
    header: dict[str, Any]
    queue: str | None
    expires_at: float
    principal: str | None = None
    pushes: bool = False
    leg: int = 1
    asked: dict[str, str] = field(default_factory=dict[str, str])
    keys: list[str] = field(default_factory=list[str])
    request_state: str | None = None
    ended_at: float | None = None

    def with_status(self, status: Status, **changes: Any) -> TaskRecord:
        """The record after a change of the task; what an earlier status had (a question, say) is gone."""
        task = self.task.model_copy(
            update={
                "status": status,
                "last_updated_at": timestamp(),
                "result": None,
                "error": None,
                "input_requests": None,
                **changes,
            }
        )
        ended = time.time() if task.ended else None
        asked = self.asked if status == "input_required" else {}
        return replace(self, task=task, ended_at=ended, asked=asked)


json_of = TypeAdapter(TaskRecord)

CANCELLED_BY_CALLER = "cancelled by its caller"


def timestamp() -> str:
    """Now, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def task_id_for(request: Envelope, keys: list[bytes]) -> str:
    """The id of the task that a call becomes: the same when the call is delivered again, and unguessable.

    Hexadecimal: it is an argument of commands, where a leading `-` would make it an option.
    """
    name = f"{request.client_id}/{request.message.get('id')!r}/{request.timestamp!r}".encode()
    return hmac.digest(derived(keys, "task-id")[0], name, hashlib.sha256).hex()
