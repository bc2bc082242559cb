"""McpRequest: the parent's side of a call, which answers for a child that cannot.

A pool child publishes its own answer before it returns. What only the parent sees is failure: a lost child, a
hard time limit. Then it sends the caller an error, and acknowledges when that is accepted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any
from weakref import WeakKeyDictionary

from billiard.einfo import ExceptionWithTraceback
from celery import Celery
from celery.exceptions import Ignore, WorkerLostError
from celery.worker.request import Request
from celery.worker.state import revoked, task_ready

from asyncmcp_kombu.envelope import Envelope, compose
from asyncmcp_kombu.errors import CallError, OutcomeUnknown, TimeLimitReached, TooManyReceives, WorkerLost
from asyncmcp_kombu.server.dead_letters import bury
from asyncmcp_kombu.server.replies import Replies
from asyncmcp_kombu.worker.call import HEADER, from_header
from asyncmcp_kombu.worker.deferral import JOB
from asyncmcp_kombu.worker.dropped import EXPIRED, NobodyWaits, count_dropped
from asyncmcp_kombu.worker.forking import not_while_forking
from asyncmcp_kombu.worker.not_served import NotServed
from asyncmcp_kombu.worker.once import is_once
from asyncmcp_kombu.worker.outcomes import outcome_of
from asyncmcp_kombu.worker.process import process_of

logger = logging.getLogger(__name__)

_UNANSWERED = (NotServed, WorkerLostError, SystemExit, KeyboardInterrupt)
"""What is raised where a call's process has not told its caller anything."""

_timezones: WeakKeyDictionary[Celery, Any] = WeakKeyDictionary()


class McpRequest(Request):
    """Celery's Request; it differs only for messages that carry an MCP request."""

    _owed: CallError | TooManyReceives | None = None

    @property
    def envelope(self) -> Envelope:
        """The MCP request that the message carries."""
        return from_header(self.request_dict[HEADER], self.kwargs)

    def refuse(self, error: TooManyReceives) -> None:
        """Do not run it: keep it as a dead letter, and tell the caller or fail the job. Returns at once."""
        logger.warning("%s: %s", self.humaninfo(), error)
        request, process = self.envelope, process_of(self.app)
        count_dropped(self.eventer, error.reason, request)
        self._owed = error
        sender = {key: getattr(request, key) for key in ("client_id", "session_id", "reply_to")}
        letter, served = compose(request.message, **sender), process.served
        limit = served.settings.max_message_bytes
        kept = bury(letter.body, letter.headers(), error.reason, served.topology.dead, process.publisher, limit)
        kept.add_done_callback(self._buried)

    def _buried(self, kept: Future[None]) -> None:
        if (error := kept.exception()) is None:
            self.acknowledge()
        else:
            logger.error("%s: it could not be kept as a dead letter: %s", self.humaninfo(), error)
            self._owed = None
            self.reject(requeue=True)

    @property
    def tzlocal(self) -> Any:
        """The app's, looked up once: Celery does for every message, at a twentieth of a call's CPU time."""
        if self._app not in _timezones:
            _timezones[self._app] = super().tzlocal
        return _timezones[self._app]

    def maybe_expire(self) -> Any:
        """Asked as the call comes, and by the prefork pool once more when a process has room for it."""
        expired = super().maybe_expire()
        if expired and HEADER in self.request_dict:
            self._count_expired()
        return expired

    def _count_expired(self) -> None:
        count_dropped(self.eventer, EXPIRED, self.envelope)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        if not soft and HEADER in self.request_dict:
            self._owed = TimeLimitReached(f"the tool exceeded its time limit of {timeout} s and was ended")
        super().on_timeout(soft, timeout)
        self._tell()

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        raised = _raised(exc_info)
        if HEADER in self.request_dict and isinstance(raised, _UNANSWERED) and not self._already_revoked:
            why = f"could not serve it ({raised})" if isinstance(raised, NotServed) else "died"
            if not self._runs_once and self._may_run_again():
                task_ready(self)
                logger.warning("%s: its process %s; the call runs again", self.humaninfo(), why)
                self.reject(requeue=True)
                return
            self._owed = self._lost(why)
        if isinstance(raised, NobodyWaits):
            self._count_expired()
        if self.id in revoked and isinstance(raised, Ignore):
            logger.info("%s: revoked while it ran, by its caller", self.humaninfo())
            self.send_event("task-revoked", terminated=True, signum=None, expired=False)
        super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)
        self._tell()

    def acknowledge(self) -> None:
        """Acknowledge; when the caller is still owed an error, only once that is accepted."""
        if self._owed is None or self.acknowledged:
            super().acknowledge()
        else:
            self._tell(then=super().acknowledge)

    def _may_run_again(self) -> bool:
        """SQS counts deliveries; other brokers only say that this is not the first one."""
        info = self.message.delivery_info or {}
        attempts = info.get("receive_count") or (2 if info.get("redelivered") else 1)
        served = process_of(self.app).served
        limit = served.settings.max_attempts if info.get("receive_count") else 2
        return attempts < limit

    @property
    def _runs_once(self) -> bool:
        """At-most-once, or acknowledged before it starts, as its author wants: nothing is left to requeue."""
        return is_once(self.task) or not self.task.acks_late

    def _lost(self, why: str) -> CallError:
        if self._runs_once:
            return OutcomeUnknown(
                f"the process that ran the tool {why}; the tool is declared at-most-once and is not run again, "
                "so whether it had its effect is unknown"
            )
        return WorkerLost(f"the process that ran the tool {why} each time it was tried; it is not tried again")

    def _tell(self, then: Any = None) -> None:
        error, self._owed = self._owed, None
        if error is None:
            return
        header, deferral = self.request_dict[HEADER], process_of(self.app).served.deferral
        if JOB in header:
            assert deferral is not None
            _in_thread(lambda: deferral.fail(header[JOB], error.error_data()), then)
            return
        request = self.envelope
        if deferral is not None and deferral.may_become_a_job(self.task):
            _in_thread(
                lambda: deferral.fail_call(request, error.error_data()),
                then,
                otherwise=lambda: self._answer(request, error, then),
            )
        else:
            self._answer(request, error, then)

    def _answer(self, request: Envelope, error: CallError | TooManyReceives, then: Any = None) -> None:
        process = process_of(self.app)
        outcome = outcome_of(process.outcomes, self.task, request, process.served.settings.dedupe, again=False)
        publish = process.publisher.publish if outcome is None else outcome.recording(process.publisher.publish)
        sent = Replies(request, publish).error(error.error_data())
        sent.add_done_callback(lambda future: self._told(future, then))

    def _told(self, future: Future[None], then: Any) -> None:
        error = future.exception()
        if error is not None:
            logger.error("%s: the caller could not be told: %s", self.humaninfo(), error)
        if then is not None:
            then()


def _in_thread(fail: Callable[[], bool | None], then: Any, otherwise: Callable[[], None] | None = None) -> None:
    """Tell the deferral in a thread of its own: it writes to a database, and this is the consumer's.

    After it `then` is called, or `otherwise` where it was no job that failed.
    """

    def run() -> None:
        try:
            with not_while_forking():
                failed = fail()
        except Exception:
            logger.exception("it could not be kept that a job failed")
            failed = None
        if failed is False and otherwise is not None:
            otherwise()
        elif then is not None:
            then()

    threading.Thread(target=run, name="asyncmcp-job-failed", daemon=True).start()


def _raised(exc_info: Any) -> BaseException:
    exception = exc_info.exception
    return exception.exc if isinstance(exception, ExceptionWithTraceback) else exception
