"""Store: tasks in Celery's result backend, whichever the app has. There is no other database.

A backend knows rows by id and whole values, and no transactions. So each row has one writer: a task's record is
written by whoever created it and then by the leg that runs; an answer, a cancellation and a listener are rows of
their own, and what `tasks/get` says is made of all of them.

Private names of Celery 5.7 used here: `_store_result`, `_get_result_meta`, `_set_with_state` and `_ensure_retryable` of
its key-value backends. tests/tasks/test_backends.py fails when one goes.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection
from functools import partial
from typing import Any

from celery import Celery, states
from celery.backends.base import BaseKeyValueStoreBackend as KeyValueStoreBackend
from celery.exceptions import BackendStoreError

from asyncmcp_kombu.tasks.record import TaskRecord, json_of

FINAL, OPEN = states.SUCCESS, "ASYNCMCP"
"""Celery's states of our rows. It never writes over a success, and only those have a date by which its SQL backend
deletes them: so whatever is final is one, however the task ended. `tasks.cleanup` looks after the others."""


class TaskStore:
    """Blocks while it reads and writes: call it in a thread."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def write(self, record: TaskRecord, *, looked: bool = False) -> None:
        """Returns when the backend has it: a read by anybody finds it from then on.

        `looked`: the row is known not to be final. Celery else reads it once more before it writes.
        """
        value = json_of.dump_python(record, mode="json")
        backend, row, state = self._app.backend, record.task.task_id, FINAL if record.task.ended else OPEN
        if not (looked and getattr(type(backend), "_store_result", None) is KeyValueStoreBackend._store_result):
            backend.store_result(row, value, state)
            return
        meta = backend._get_result_meta(result=value, state=state, traceback=None, request=None)
        backend._ensure_retryable(
            backend._set_with_state,
            backend.get_key_for_task(row),
            backend.encode({**meta, "task_id": row}),
            state,
            fallback_exc=partial(BackendStoreError, task_id=row, state=state),
            fallback_msg="failed to store a task",
        )

    def read(self, task_id: str) -> TaskRecord | None:
        """None when there is no such task (any more)."""
        return _record(self._row(task_id))

    def read_with_cancellation(self, task_id: str) -> tuple[TaskRecord | None, bool]:
        """The task, and whether it was cancelled."""
        record, cancellation = self._rows(task_id, _cancellation(task_id))
        return _record(record), cancellation is not None

    def final_and_cancelled(self, task_id: str) -> tuple[bool, bool]:
        """Whether the task's record is a final one, and whether it was cancelled."""
        record, cancellation = self._metas(task_id, _cancellation(task_id))
        return record.get("status") == FINAL, cancellation.get("result") is not None

    def cancel(self, task_id: str) -> None:
        self._put(_cancellation(task_id), {"at": time.time()}, FINAL)

    def cancelled_at(self, task_id: str) -> float | None:
        """Epoch seconds; None when nobody has cancelled the task."""
        value = self._row(_cancellation(task_id))
        return value["at"] if isinstance(value, dict) else None

    def answer(self, task_id: str, key: str, response: Any) -> None:
        """The first answer to a question is the one that counts."""
        self._put(_answer(task_id, key), {"response": response}, FINAL)

    def answers(self, task_id: str, keys: Collection[str]) -> dict[str, Any]:
        """The answers that have come, by key."""
        rows = dict(zip(keys, self._rows(*(_answer(task_id, key) for key in keys)), strict=True))
        return {key: row["response"] for key, row in rows.items() if isinstance(row, dict)}

    def listen(self, record: TaskRecord, listener: dict[str, Any]) -> None:
        """Remember who wants to be told of changes; one place for each client."""
        task_id = record.task.task_id
        others = [one for one in self.listeners(task_id) if one["client_id"] != listener["client_id"]]
        self._put(_listeners(task_id), {"listeners": [*others, listener], "expires_at": record.expires_at}, OPEN)

    def listeners(self, task_id: str) -> list[dict[str, Any]]:
        value = self._row(_listeners(task_id))
        return value["listeners"] if isinstance(value, dict) else []

    def _put(self, row: str, value: dict[str, Any], state: str) -> None:
        self._app.backend.store_result(row, value, state)

    def _row(self, row: str) -> Any:
        return self._app.backend.get_task_meta(row, cache=False).get("result")

    def _rows(self, *rows: str) -> list[Any]:
        return [meta.get("result") for meta in self._metas(*rows)]

    def _metas(self, *rows: str) -> list[dict[str, Any]]:
        """Several at once, in one request where the backend can."""
        backend = self._app.backend
        if not rows or not isinstance(backend, KeyValueStoreBackend):
            return [backend.get_task_meta(row, cache=False) for row in rows]
        try:
            values = backend.mget([backend.get_key_for_task(row) for row in rows])
        except NotImplementedError:
            return [backend.get_task_meta(row, cache=False) for row in rows]
        return [backend.decode_result(value) if value else {} for value in values]


def _record(value: Any) -> TaskRecord | None:
    if not isinstance(value, dict) or "task" not in value:
        return None
    record = json_of.validate_python(value)
    return record if record.expires_at > time.time() else None


def _cancellation(task_id: str) -> str:
    return f"{task_id}:cancelled"


def _answer(task_id: str, key: str) -> str:
    return f"{task_id}:answer:{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def _listeners(task_id: str) -> str:
    return f"{task_id}:listeners"
