"""Job: what a running task sends and answers is kept, and pushed to who listens."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from mcp_types.jsonrpc import ErrorData

from asyncmcp_kombu.broker.threads import finished
from asyncmcp_kombu.tasks.record import CANCELLED_BY_CALLER, TaskRecord

logger = logging.getLogger(__name__)

PROGRESS_EVERY = 1.0
"""Seconds between two writes of a tool's progress."""

Keep = Callable[[TaskRecord, Future[None] | None], Future[None]]
"""Keeps a record, without blocking, after the one before it; the future is done when it is kept."""


class JobOutlet:
    """The worker's `Outlet` for a task. Used by one thread at a time."""

    session_id: str | None = None

    def __init__(self, record: TaskRecord, keep: Keep) -> None:
        self._record, self._keep_after = record, keep
        self._kept_at, self._last = -math.inf, finished()

    def notify(self, method: str, params: Mapping[str, Any] | None) -> Future[None]:
        """Progress becomes the status message; other notifications have no place in a task (SEP-2663)."""
        if method != "notifications/progress" or params is None:
            return finished()
        self._record = self._record.with_status("working", status_message=said_of(params))
        if time.monotonic() - self._kept_at < PROGRESS_EVERY:
            return finished()
        self._kept_at = time.monotonic()
        return self._keep(self._record)

    def send(self, message: Mapping[str, Any], reply_to: str | None = None) -> Future[None]:
        raise RuntimeError("a task sends its client no requests")

    def result(self, result: Mapping[str, Any]) -> Future[None]:
        if result.get("resultType") == "input_required":
            return self._keep(self._asking(result))
        said = None if result.get("isError") else self._record.task.status_message
        return self._keep(self._record.with_status("completed", result=dict(result), status_message=said))

    def error(self, error: ErrorData) -> Future[None]:
        return self._keep(failed(self._record, error))

    def cancelled(self) -> None:
        self._keep(self._record.with_status("cancelled", status_message=CANCELLED_BY_CALLER)).result()

    def _keep(self, record: TaskRecord) -> Future[None]:
        """In order: a tool may have left its progress behind when it ended."""
        self._last = self._keep_after(record, self._last)
        return self._last

    def _asking(self, result: Mapping[str, Any]) -> TaskRecord:
        """Keys are unique over the life of a task (SEP-2663); a tool that is entered again may use its own again."""
        requests: Mapping[str, Any] = result.get("inputRequests") or {}
        asked: dict[str, str] = {}
        for key in requests:
            taken = self._record.keys
            asked[key if key not in taken else f"{key}-{self._record.leg}"] = key
        record = self._record.with_status(
            "input_required", input_requests={wire: requests[key] for wire, key in asked.items()}
        )
        return replace(
            record,
            asked=asked,
            keys=[*record.keys, *asked],
            request_state=result.get("requestState"),
        )


def failed(record: TaskRecord, error: ErrorData) -> TaskRecord:
    """The task after an error of the protocol."""
    data = error.model_dump(mode="json", exclude_none=True)
    return record.with_status("failed", error=data, status_message=error.message)


def said_of(progress: Mapping[str, Any]) -> str:
    """Progress as a status message."""
    if progress.get("message"):
        return str(progress["message"])
    done, total = progress.get("progress"), progress.get("total")
    return f"{done:g} of {total:g}" if total is not None else f"{done:g}"
