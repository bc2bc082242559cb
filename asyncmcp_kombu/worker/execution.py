"""Execution: a call inside its Celery task, from the request to the accepted answer.

The task's thread starts `dispatch` in the event loop and lends itself to the tool's body. It returns only when
the broker has accepted the answer, so that Celery's late acknowledgement means: answered.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextvars import ContextVar, copy_context
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn, TypeVar

import anyio
import anyio.to_thread
from billiard.common import terminate_handler_fired
from celery import Task
from celery.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry, SoftTimeLimitExceeded
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp_types.jsonrpc import INTERNAL_ERROR, ErrorData

from asyncmcp_kombu.broker.threads import wait_for
from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.errors import (
    BrokerUnreachable,
    CallError,
    CallRejected,
    MessageTooLarge,
    PublishError,
    QueueNotFound,
    ReplyTooLarge,
    RetriesExhausted,
    TimeLimitReached,
)
from asyncmcp_kombu.server.cancellation import key_of
from asyncmcp_kombu.server.dispatch import dispatch
from asyncmcp_kombu.server.replies import Replies
from asyncmcp_kombu.server.serving import Answer
from asyncmcp_kombu.worker.call import AGAIN, HEADER
from asyncmcp_kombu.worker.deferral import IN_PLACE, Job, Outlet, Switch
from asyncmcp_kombu.worker.dropped import NobodyWaits
from asyncmcp_kombu.worker.limits import has_soft_limit_of_celery, own_limit
from asyncmcp_kombu.worker.not_served import NotServed
from asyncmcp_kombu.worker.once import is_once, reason_not_to_start
from asyncmcp_kombu.worker.outcomes import Outcome, outcome_key, outcome_of
from asyncmcp_kombu.worker.process import Process, process_of
from asyncmcp_kombu.worker.task_thread import FromThread, TaskThread

logger = logging.getLogger(__name__)

T = TypeVar("T")

current_call: ContextVar[Call | None] = ContextVar("asyncmcp_call", default=None)
"""The call that is being served: in its Celery thread, and in whatever it started in the event loop."""


class Call:
    """One call being served in one Celery task."""

    def __init__(self, task: Task, request: Envelope, process: Process, job: Job | None = None) -> None:
        self.task, self.request, self.job = task, request, job
        self._celery = task.request  # Celery shows it in this thread only
        self.admitting = False
        self.answered = False
        self.in_place = bool((self._celery.get(HEADER) or {}).get(IN_PLACE))
        self.on_entering: Callable[[], Awaitable[None]] | None = None  # awaited before the tool's body
        self._process = process
        self._wants_progress = progress_token_from_params(request.params) is not None
        self._outcome = None if job is not None else self._own_outcome()
        publish = process.publisher.publish
        if self._outcome is not None:
            publish = self._outcome.recording(publish)
        self._replies = Switch(Replies(request, publish), tells_progress=self._wants_progress)
        self._thread = TaskThread()
        self._scope: anyio.CancelScope | None = None
        self._body: Future[Any] | None = None  # an async body, while it runs
        self._control: Any = None  # Celery's Retry, Ignore or Reject
        self._failure: Exception | None = None  # what the tool raised
        self._cancelled = False  # by its caller, who then gets no answer
        self._exit: BaseException | None = None  # SystemExit: the tool's own, or that of a child being ended
        self._sent: Future[None] | None = None  # the answer, on its way

    def execute(self) -> Any:
        """Serve the call and answer it; returns what the tool gave, for Celery's log and events.

        Raises:
            Retry, Ignore, Reject: the tool asked Celery for it; `Retry` leaves the answer to the next try. `Ignore`
                also when the caller cancelled the call.
            Exception: what the tool raised, after the caller has been told, so that Celery counts a failure.
        """
        if self.job is not None:
            self._begin_job(self.job)
        if self._outcome is not None and (earlier := self._outcome.earlier()) is not None:
            logger.info("%s was answered before: answered again, and not run", self.request.name)
            self._reply(earlier)
            return None
        if is_once(self.task) and (reason := self._reason_not_to_start()) is not None:
            logger.warning("%s was not started: %s", self.request.name, reason.message)
            self._reply(reason)
            return None
        token = current_call.set(self)
        try:
            serving = self._process.start_soon(self._serve)
            try:
                answer = self._thread.wait(serving, then=lambda: self._sent)
            except SoftTimeLimitExceeded as limit:  # raised while no body ran in this thread
                serving.cancel()
                self._failure = limit
                answer = TimeLimitReached("the tool exceeded its soft time limit").error_data()
            if self._cancelled:
                self._replies.cancelled()
                if terminate_handler_fired():
                    raise SystemExit("ended, as its caller has cancelled")
                raise Ignore("cancelled by its caller")
            if isinstance(self._control, Retry):
                raise self._control
            if self._exit is not None and terminate_handler_fired():
                raise self._exit  # the pool ends this child; its parent tells the caller
            if answer is not None:
                self._reply(answer)
            if self._control is not None:
                raise self._control
            if self._failure is not None:
                raise self._failure
            return answer.message if isinstance(answer, ErrorData) else (answer or {}).get("structuredContent")
        finally:
            current_call.reset(token)

    async def _serve(self) -> Answer:
        current_call.set(self)
        process = self._process
        with anyio.CancelScope() as self._scope, process.calls.running(key_of(self.request), self._cancel):
            answer = await dispatch(process.serving, self._watched(), self._replies)
            if answer is not None and self._may_send_from_here:
                self._sent = self._send(answer)  # Celery's thread is woken once, when that is accepted
            return answer
        if self._cancelled:
            return None
        return CallRejected(f"the tool gave the call up: {type(self._control).__name__}").error_data()

    def _watched(self) -> Envelope:
        """The request; its tool reports progress also where the caller does not ask, when the call may become a job."""
        options = getattr(self.task, "mcp_tool", None)
        if self._wants_progress or options is None or options.task == "never":
            return self.request
        params = self.request.params
        meta = {**(params.get("_meta") or {}), "progressToken": self._celery.id}
        return replace(self.request, message={**self.request.message, "params": {**params, "_meta": meta}})

    def _cancel(self) -> None:
        self._cancelled = True
        if self._scope is not None:
            self._scope.cancel()

    def _own_outcome(self) -> Outcome | None:
        process = self._process
        return outcome_of(process.outcomes, self.task, self.request, process.served.settings.dedupe, again=self.again)

    def _reason_not_to_start(self) -> ErrorData | None:
        key = outcome_key(self.request) if key_of(self.request) is not None else None
        outcomes = self._process.outcomes
        return reason_not_to_start(outcomes, key, redelivered=self._redelivered)

    @property
    def again(self) -> bool:
        """Whether the call was tried before, or the broker says that it was delivered before."""
        return self._redelivered or self._celery.retries > 0

    @property
    def _redelivered(self) -> bool:
        forwarded_again = (self._celery.get(HEADER) or {}).get(AGAIN)
        return bool((self._celery.delivery_info or {}).get("redelivered") or forwarded_again)

    @property
    def progress(self) -> Mapping[str, Any] | None:
        """What the tool reported last."""
        return self._replies.progress

    def _begin_job(self, job: Job) -> None:
        deferral = self._process.served.deferral
        assert deferral is not None
        outlet = deferral.begin(job, self.request, again=self.again)
        if outlet is None:
            raise Ignore("the job has ended, was cancelled, or has expired")
        self._replies.target = outlet

    async def become(self, result: dict[str, Any], outlet: Outlet) -> None:
        """Answer the caller now, while the tool goes on; what it sends and answers goes to `outlet` from here on.

        A caller that is gone does not end the job. While the broker is away the message is given back.
        """
        if self._outcome is not None:  # the call is not over: it is kept as a job
            self._outcome.records = False
        caller, self._replies.target = self._replies.target, outlet
        try:
            await wait_for(caller.result(result))
        except BrokerUnreachable as error:
            await self._give_up(Reject(f"the caller could not be answered: {error}", requeue=True))
        except PublishError as error:
            logger.info("%s is a job, whose caller cannot be told: %s", self.request.name, error)

    async def run_body(self, task: Any, arguments: dict[str, Any]) -> Any:
        """Run a tool's body; awaited by the tool's entry on the SDK's server.

        A sync one runs in this call's Celery thread, an async one here, unless Celery has a part in running it.
        """
        if self.admitting:
            raise Admitted
        if self.on_entering is not None:
            await self.on_entering()
        if task.mcp_function is not None and not _needs_celerys_thread(task):
            return await self._controlled(task, _limited(task, task.mcp_function, (), arguments))

        context = copy_context()  # what the server's middleware has set there, and its span

        def body() -> Any:
            with FromThread(self._process.token, self._scope):
                return context.run(task.run, **arguments)

        return await self._controlled(task, self._thread.run(body, self._cancel_body))

    async def _controlled(self, task: Task, body: Coroutine[Any, Any, Any]) -> Any:
        """What the body gives. What it raises is noted for Celery, and told to the SDK as far as the caller gets it."""
        try:
            return await body
        except (Retry, Ignore, Reject) as control:
            await self._give_up(control)
        except CallError as error:
            self._failure = error
            raise MCPError.from_error_data(error.error_data()) from error
        except Exception as error:
            self._failure = error
            if error.__cause__ is not None and not isinstance(error.__cause__, Exception):
                self._exit = error.__cause__
            elif self._outlives_its_request and _retries_are_used_up(task, self._celery.retries, error):
                told = RetriesExhausted(f"the tool failed on each of {self._celery.retries + 1} tries")
                raise MCPError.from_error_data(told.error_data()) from error
            raise

    async def _give_up(self, control: Retry | Ignore | Reject) -> NoReturn:
        """Unwind the SDK: Celery, not the caller, gets this."""
        self._control = control
        assert self._scope is not None
        self._scope.cancel()
        await anyio.sleep_forever()
        raise AssertionError("cancelled before")

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Call a function that blocks, and await it: in this call's Celery thread while that only waits."""
        if self._thread.taken:
            return await anyio.to_thread.run_sync(function)
        context = copy_context()
        return await self._thread.run(lambda: context.run(function), lambda: None)

    @property
    def _may_send_from_here(self) -> bool:
        """In the event loop: not what Celery's thread decides about, nor what is kept and so may block."""
        decided = self._cancelled or self._control is not None or self._exit is not None
        return not decided and not self._outlives_its_request

    @property
    def _outlives_its_request(self) -> bool:
        return not isinstance(self._replies.target, Replies)

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

    def _reply(self, answer: dict[str, Any] | ErrorData) -> None:
        try:
            self._accepted(self._sent or self._send(answer))
        except MessageTooLarge as error:
            told = ReplyTooLarge(f"the tool finished, but its answer cannot be sent: {error}")
            self._failure = self._failure or told
            self._accepted(self._replies.error(told.error_data()))
        finally:
            if self._outcome is not None:
                self._outcome.wait()

    def _send(self, answer: dict[str, Any] | ErrorData) -> Future[None]:
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
        self.answered = True


def _needs_celerys_thread(task: Any) -> bool:
    """Whether Celery has wrapped an async tool (autoretry_for), or raises a time limit in the thread that waits."""
    return hasattr(task, "_orig_run") or has_soft_limit_of_celery(task)


def _retries_are_used_up(task: Task, retries: int, error: Exception) -> bool:
    """Whether Celery tried again and gave up: it raises what the last try raised, unless there was nothing."""
    limit = getattr(task, "override_max_retries", task.max_retries)
    return isinstance(error, MaxRetriesExceededError) or (limit is not None and 0 < limit <= retries)


class Admitted(MCPError):
    """Raised in place of a tool's body while its call is only admitted: arguments fit, resolvers have answers.

    An MCPError, because the SDK lets that pass where it makes results of other exceptions.
    """

    def __init__(self) -> None:
        super().__init__(code=INTERNAL_ERROR, message="admitted")


def execute(task: Task, request: Envelope, job: Job | None = None) -> Any:
    """Serve and answer a request inside its Celery task; see `Call.execute`.

    Raises:
        NobodyWaits: it waited in the pool beyond its deadline.
        NotServed: it is not answered; the main process has it run again, or tells the caller.
    """
    if job is None and request.expired():
        raise NobodyWaits("its deadline passed before it started")
    call: Call | None = None
    try:
        call = Call(task, request, process_of(task.app), job)
        return call.execute()
    except (Retry, Ignore, Reject):
        raise
    except Exception as error:
        if call is not None and call.answered:
            raise
        logger.exception("%s could not be served", request.name or request.method)
        raise NotServed(type(error).__name__) from error


def run_async(task: Task, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any) -> Any:
    """Run an async tool's function in the process's event loop, from a Celery thread, and wait for it."""
    body = process_of(task.app).start_soon(partial(_limited, task, function, args, kwargs))
    call = current_call.get()
    return body.result() if call is None else call.wait_for_body(body)


async def _limited(task: Task, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Where Celery keeps no time limits (threads, solo), hold an async tool to them by cancellation."""
    try:
        return await _within(own_limit(task), function, args, kwargs)
    except (SystemExit, KeyboardInterrupt) as error:  # it would end the event loop
        raise RuntimeError(f"the tool raised {type(error).__name__}") from error


async def _within(limit: tuple[float, bool] | None, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    if limit is None:
        return await function(*args, **kwargs)
    seconds, soft = limit
    with anyio.move_on_after(seconds):
        return await function(*args, **kwargs)
    if soft:
        raise SoftTimeLimitExceeded(seconds)
    raise TimeLimitReached(f"the tool exceeded its time limit of {seconds} s and was cancelled")
