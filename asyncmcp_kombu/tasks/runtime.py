"""Runtime: tasks on a Celery app: created, begun, kept, failed. It is the worker's `Deferral`."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

from celery import Celery
from mcp_types.jsonrpc import ErrorData

from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.server.cancellation import key_of
from asyncmcp_kombu.server.keys import secret_keys
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.task_state import Task
from asyncmcp_kombu.tasks.job import JobOutlet, failed
from asyncmcp_kombu.tasks.modes import client_settings, declares_tasks, mode_of, ttl_of
from asyncmcp_kombu.tasks.push import push
from asyncmcp_kombu.tasks.record import CANCELLED_BY_CALLER, TaskRecord, task_id_for, timestamp
from asyncmcp_kombu.tasks.store import TaskStore
from asyncmcp_kombu.topology import Topology
from asyncmcp_kombu.worker.call import HEADER, arguments_of, call_id, from_header, to_header
from asyncmcp_kombu.worker.deferral import JOB, Job
from asyncmcp_kombu.worker.process import process_of
from asyncmcp_kombu.worker.tool import McpTask
from asyncmcp_kombu.worker.trace_context import trace_headers


class TaskRuntime:
    """Tasks of one app. Its methods block (database, broker) unless they return a future."""

    def __init__(self, app: Celery, settings: Settings, topology: Topology) -> None:
        self.app, self.settings, self.topology = app, settings, topology
        self.store = TaskStore(app)
        self._executor: tuple[int, ThreadPoolExecutor] | None = None
        """And the process whose it is: threads do not survive a fork, and a pool forks again when a child was lost."""

    # --- the worker's side ---

    def admits(self, tool: McpTask, request: Envelope) -> bool:
        mode = mode_of(tool)
        return mode == "required" or (mode == "optional" and declares_tasks(request))

    def may_become_a_job(self, tool: Any) -> bool:
        return mode_of(tool) != "never"

    def begin(self, job: Job, request: Envelope, *, again: bool) -> JobOutlet | None:
        record, cancelled = self.store.read_with_cancellation(job["task"])
        if record is None or record.task.ended:
            return None
        if cancelled:
            self.keep(record.with_status("cancelled", status_message="cancelled before it started"))
            return None
        leg = job["leg"]
        asks = record.task.status == "input_required"
        if leg < record.leg or (leg == record.leg and (asks or (leg > 1 and not again))):  # entered already
            return None
        if leg > record.leg:
            record = replace(record.with_status("working"), leg=leg)
            self.keep(record)
        return JobOutlet(record, self.keep_soon)

    def fail(self, job: Job, error: ErrorData) -> None:
        self._fail(job["task"], error)

    def fail_call(self, request: Envelope, error: ErrorData) -> bool:
        return self._fail(task_id_for(request, secret_keys(self.settings)), error)

    def _fail(self, task_id: str, error: ErrorData) -> bool:
        """Whether there is such a task."""
        record = self.store.read(task_id)
        if record is not None and not record.task.ended:
            self.keep(failed(record, error))
        return record is not None

    # --- a task ---

    def new_record(self, tool: McpTask, request: Envelope) -> TaskRecord:
        """A task for a call that has arrived; nothing is stored yet."""
        ttl, now = ttl_of(tool, self.settings), timestamp()
        return TaskRecord(
            task=Task(
                task_id=task_id_for(request, secret_keys(self.settings)),
                status="working",
                created_at=now,
                last_updated_at=now,
                ttl_ms=int(ttl * 1_000),
                poll_interval_ms=int(self.settings.task_poll_interval * 1_000),
            ),
            tool=tool.name,
            message=dict(request.message),
            header={**to_header(request, without_arguments=True), "message": {}},
            queue=getattr(tool, "queue", None),
            expires_at=time.time() + ttl,
            principal=request.sender,
            pushes=client_settings(request).get("push") is True,
        )

    def create(self, record: TaskRecord, *, again: bool) -> TaskRecord:
        """Store a task, and then put its work into a queue; when the call is delivered again, whatever is missing."""
        known = self.stored(record, again=again)
        if known.task.status == "working" and known.leg == 1:
            self.publish_leg(known, 1)
        return known

    def stored(self, record: TaskRecord, *, again: bool) -> TaskRecord:
        """The task as the store has it; it is put there unless that happened when the call was delivered before."""
        known = self.store.read(record.task.task_id) if again else None
        if known is None:
            self.store.write(record, looked=True)
        return known or record

    def publish_leg(self, record: TaskRecord, leg: int, answers: Mapping[str, Any] | None = None) -> None:
        """Put an entry of the tool into its queue; a later one with the answers to what it asked."""
        params = dict(record.message["params"])
        params["_meta"] = {**params.get("_meta", {}), "progressToken": record.task.task_id}
        if answers is not None:
            params["inputResponses"] = {record.asked[key]: answer for key, answer in answers.items()}
            params.pop("requestState", None)
            if record.request_state is not None:
                params["requestState"] = record.request_state
        header = {**record.header, "message": {**record.message, "params": params}, "with_arguments": True}
        header.pop("expires_at", None)  # of the call, which is answered; the task has a life of its own
        request = from_header(header, {})
        self.app.send_task(
            record.tool,
            kwargs=arguments_of(request),
            task_id=call_id(key_of(request)),
            queue=record.queue or self.topology.jobs,
            ignore_result=True,
            headers={
                HEADER: {**to_header(request, without_arguments=True), JOB: {"task": record.task.task_id, "leg": leg}},
                **trace_headers(request),
            },
        )

    def keep(self, record: TaskRecord) -> None:
        """Store the record, and tell who listens. What was cancelled goes on to be, whatever its tool still says."""
        final, cancelled = self.store.final_and_cancelled(record.task.task_id)
        if record.task.status != "cancelled" and cancelled:
            if not record.task.ended:
                return
            record = record.with_status("cancelled", status_message=CANCELLED_BY_CALLER)
        if not final:
            self.store.write(record, looked=True)
        self.tell(record)  # after it: who begins to listen meanwhile reads what was written

    def keep_soon(self, record: TaskRecord, after: Future[None] | None) -> Future[None]:
        """Keep it when `after` is done: here, unless this is an event loop, which must not block; then in a thread."""

        def keep() -> None:
            if after is not None:  # was submitted earlier: it runs already, or has run
                wait([after])
            self.keep(record)

        if not _in_event_loop():
            return _kept(keep)
        if self._executor is None or self._executor[0] != os.getpid():
            self._executor = os.getpid(), ThreadPoolExecutor(8, thread_name_prefix="asyncmcp-tasks")
        return self._executor[1].submit(keep)

    def tell(self, record: TaskRecord) -> None:
        """Push the task as it is now to who listens."""
        push(record, self.store.listeners(record.task.task_id), process_of(self.app).publisher)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _kept(keep: Callable[[], None]) -> Future[None]:
    done: Future[None] = Future()
    try:
        keep()
    except Exception as error:
        done.set_exception(error)
    else:
        done.set_result(None)
    return done
