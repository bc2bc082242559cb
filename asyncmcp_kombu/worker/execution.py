"""Execution: a call inside its Celery task, from the request to the accepted answer.

The task's thread starts `dispatch` in the event loop and lends itself to the tool's body. It returns only when
the broker has accepted the answer, so that Celery's late acknowledgement means: answered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import ContextVar
from functools import partial
from typing import Any

import anyio
from billiard.common import terminate_handler_fired
from celery import Task
from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded
from mcp.shared.exceptions import MCPError
from mcp_types.jsonrpc import INTERNAL_ERROR, ErrorData

from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.errors import (
    BrokerUnreachable,
    CallError,
    CallRejected,
    MessageTooLarge,
    PublishError,
    QueueNotFound,
    ReplyTooLarge,
    TimeLimitReached,
)
from asyncmcp_kombu.server.dispatch import Answer, dispatch
from asyncmcp_kombu.server.replies import Replies
from asyncmcp_kombu.worker.limits import own_limit
from asyncmcp_kombu.worker.process import Process, process_of
from asyncmcp_kombu.worker.task_thread import FromThread, TaskThread

logger = logging.getLogger(__name__)

current_call: ContextVar[Call | None] = ContextVar("asyncmcp_call", default=None)
"""The call that is being served: in its Celery thread, and in whatever it started in the event loop."""


class Call:
    """One call being served in one Celery task."""

    def __init__(self, task: Task, request: Envelope, process: Process) -> None:
        self.task, self.request = task, request
        self._process = process
        self._replies = Replies(request, process.publisher.publish)
        self._thread = TaskThread()
        self._scope: anyio.CancelScope | None = None
        self._body: Future[Any] | None = None  # an async body, while it runs
        self._control: Any = None  # Celery's Retry, Ignore or Reject
        self._failure: Exception | None = None  # what the tool raised
        self._exit: BaseException | None = None  # SystemExit: the tool's own, or that of a child being ended

    def execute(self) -> Any:
        """Serve the call and answer it; returns what the tool gave, for Celery's log and events.

        Raises:
            Retry, Ignore, Reject: the tool asked Celery for it; `Retry` leaves the answer to the next try.
            Exception: what the tool raised, after the caller has been told, so that Celery counts a failure.
        """
        token = current_call.set(self)
        try:
            serving = self._process.start_soon(self._serve)
            try:
                answer = self._thread.wait(serving)
            except SoftTimeLimitExceeded as limit:  # raised while no body ran in this thread
                serving.cancel()
                self._failure = limit
                answer = TimeLimitReached("the tool exceeded its soft time limit").error_data()
            if isinstance(self._control, Retry):
                raise self._control
            if self._exit is not None and terminate_handler_fired():
                raise self._exit  # the pool ends this child; its parent tells the caller
            self._reply(answer)
            if self._control is not None:
                raise self._control
            if self._failure is not None:
                raise self._failure
            return answer.get("structuredContent") if isinstance(answer, dict) else answer.message
        finally:
            current_call.reset(token)

    async def _serve(self) -> Answer:
        current_call.set(self)
        process = self._process
        with anyio.CancelScope() as self._scope:
            return await dispatch(process.served.lowlevel, process.lifespan_state, self.request, self._replies)
        return CallRejected(f"the tool gave the call up: {type(self._control).__name__}").error_data()

    async def run_body(self, task: Task, arguments: dict[str, Any]) -> Any:
        """Run a tool's body in this call's Celery thread; awaited by the tool's entry on the SDK's server."""

        def body() -> Any:
            with FromThread(self._process.token):
                return task.run(**arguments)

        try:
            return await self._thread.run(body, self._cancel_body)
        except (Retry, Ignore, Reject) as control:
            self._control = control
            assert self._scope is not None
            self._scope.cancel()  # unwind the SDK: Celery, not the caller, gets this
            await anyio.sleep_forever()
        except CallError as error:
            self._failure = error
            raise MCPError.from_error_data(error.error_data()) from error
        except Exception as error:
            self._failure = error
            if error.__cause__ is not None and not isinstance(error.__cause__, Exception):
                self._exit = error.__cause__
            raise

    def wait_for_body(self, body: Future[Any]) -> Any:
        """Wait in Celery's thread for an async body, which is cancelled when a soft time limit is raised."""
        self._body = body
        try:
            return self._thread.wait(body)
        except SoftTimeLimitExceeded:
            body.cancel()
            raise
        finally:
            self._body = None

    def _cancel_body(self) -> None:
        if self._body is not None:
            self._body.cancel()

    def _reply(self, answer: Answer) -> None:
        try:
            self._accepted(self._send(answer))
        except MessageTooLarge as error:
            told = ReplyTooLarge(f"the tool finished, but its answer cannot be sent: {error}")
            self._failure = self._failure or told
            self._accepted(self._replies.error(told.error_data()))

    def _send(self, answer: Answer) -> Future[None]:
        try:
            return self._replies.error(answer) if isinstance(answer, ErrorData) else self._replies.result(answer)
        except Exception as error:  # it cannot be written as JSON
            self._failure = self._failure or error
            told = ErrorData(code=INTERNAL_ERROR, message="the tool's answer cannot be encoded")
            return self._replies.error(told)

    def _accepted(self, sent: Future[None]) -> None:
        try:
            sent.result()
        except QueueNotFound:
            logger.info("the caller of %s is gone: its reply queue does not exist", self.request.name)
        except BrokerUnreachable as error:  # tried for as long as the settings say: somebody else may manage
            raise Reject(f"the answer could not be sent: {error}", requeue=True) from error
        except PublishError as error:
            logger.error("the broker refused the answer of %s: %s", self.request.name, error)
            self._failure = self._failure or error


def execute(task: Task, request: Envelope) -> Any:
    """Serve and answer a request inside its Celery task; see `Call.execute`."""
    return Call(task, request, process_of(task.app)).execute()


def run_async(task: Task, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any) -> Any:
    """Run an async tool's function in the process's event loop, from a Celery thread, and wait for it."""
    body = process_of(task.app).start_soon(partial(_limited, task, function, args, kwargs))
    call = current_call.get()
    return body.result() if call is None else call.wait_for_body(body)


async def _limited(task: Task, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Where Celery keeps no time limits (threads, solo), hold an async tool to them by cancellation."""
    limit = own_limit(task)
    if limit is None:
        return await function(*args, **kwargs)
    seconds, soft = limit
    with anyio.move_on_after(seconds):
        return await function(*args, **kwargs)
    if soft:
        raise SoftTimeLimitExceeded(seconds)
    raise TimeLimitReached(f"the tool exceeded its time limit of {seconds} s and was cancelled")
