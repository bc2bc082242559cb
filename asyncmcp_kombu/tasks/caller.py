"""What a caller may do with a task: look at it, answer it, cancel it. Somebody else's task is unknown to him."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import anyio.to_thread
from mcp.shared.exceptions import MCPError
from mcp_types.jsonrpc import INVALID_PARAMS

from asyncmcp_kombu.broker.threads import wait_for
from asyncmcp_kombu.envelope import compose
from asyncmcp_kombu.server.cancellation import CANCELLED
from asyncmcp_kombu.tasks.record import CANCELLED_BY_CALLER, TaskRecord
from asyncmcp_kombu.tasks.runtime import TaskRuntime
from asyncmcp_kombu.topology import EVERYONE
from asyncmcp_kombu.worker.execution import current_call
from asyncmcp_kombu.worker.process import process_of

T = TypeVar("T")


async def known(runtime: TaskRuntime, task_id: str, purpose: str) -> TaskRecord:
    """The task, if it is that of the caller who is being served.

    Raises:
        MCPError: -32602, there is none, it has expired, or it is somebody else's.
    """
    record = await in_thread(partial(runtime.store.read, task_id))
    call = current_call.get()
    if record is None or call is None or record.principal != call.request.sender:
        raise MCPError(INVALID_PARAMS, f"Failed to {purpose} task: there is none with this id, or it has expired")
    return record


async def seen(runtime: TaskRuntime, record: TaskRecord) -> TaskRecord:
    """The task with what was said of it since its record was written."""
    return await in_thread(partial(seen_now, runtime, record))


async def answer(runtime: TaskRuntime, record: TaskRecord, responses: dict[str, Any]) -> None:
    """Keep answers; with the last one the tool is entered again. What was not asked, or is answered, is ignored."""
    await in_thread(partial(_answer, runtime, record, responses))


async def cancel(runtime: TaskRuntime, record: TaskRecord) -> None:
    """Note that the task is cancelled, and tell the process that runs it. Does nothing once it has ended."""
    if record.task.ended:
        return
    await in_thread(partial(_cancel, runtime, record))
    cancelled = {"jsonrpc": "2.0", "method": CANCELLED, "params": {"requestId": record.message["id"]}}
    envelope = compose(cancelled, client_id=record.header.get("client_id"), audience=EVERYONE)
    await wait_for(process_of(runtime.app).publisher.publish_to(runtime.topology.control, envelope))


async def in_thread(function: Callable[[], T]) -> T:
    """Call a function that blocks: in the Celery thread of the call that is served, where there is one."""
    call = current_call.get()
    return await (anyio.to_thread.run_sync(function) if call is None else call.in_thread(function))


def _cancel(runtime: TaskRuntime, record: TaskRecord) -> None:
    if runtime.store.cancelled_at(record.task.task_id) is None:
        runtime.store.cancel(record.task.task_id)
        # Nobody else would say so of a task that waits, for a worker or for answers.
        runtime.tell(record.with_status("cancelled", status_message=CANCELLED_BY_CALLER))


def seen_now(runtime: TaskRuntime, record: TaskRecord) -> TaskRecord:
    """As `seen`; it blocks."""
    cancelled_at = None if record.task.ended else runtime.store.cancelled_at(record.task.task_id)
    if cancelled_at is not None:
        return record.with_status("cancelled", status_message=CANCELLED_BY_CALLER)
    if record.task.status != "input_required":
        return record
    answers = runtime.store.answers(record.task.task_id, record.asked)
    unanswered = {key: one for key, one in (record.task.input_requests or {}).items() if key not in answers}
    if not unanswered:
        return record.with_status("working")
    return replace(record, task=record.task.model_copy(update={"input_requests": unanswered}))


def _answer(runtime: TaskRuntime, record: TaskRecord, responses: dict[str, Any]) -> None:
    store, task_id = runtime.store, record.task.task_id
    if record.task.status != "input_required" or store.cancelled_at(task_id) is not None:
        return
    before = store.answers(task_id, record.asked)
    for key in (record.asked.keys() & responses.keys()) - before.keys():
        store.answer(task_id, key, responses[key])
    answers = store.answers(task_id, record.asked)
    # Also when nothing was new: whoever kept the last answer may have died before this. `begin` takes one of them.
    if answers.keys() == record.asked.keys():
        runtime.publish_leg(record, record.leg + 1, answers)
