"""Deferral: the worker's view of calls that outlive their request. It knows nothing of tasks; `fleet.py` brings one.

Such a call is admitted first, by `mcp.request`, and its tool runs later as a job: a Celery message of the fleet's own
whose header names it. What a job sends and answers goes where the deferral says, and not to the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Protocol

from mcp_types.jsonrpc import ErrorData

from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.server.replies import Replies

JOB = "job"
"""In the header of a Celery message: what the deferral wrote about the job."""
Job = Mapping[str, Any]


class Outlet(Protocol):
    """Where what a call sends goes: its caller (`Replies`), or what is kept of a job."""

    @property
    def session_id(self) -> str | None: ...
    @session_id.setter
    def session_id(self, value: str | None) -> None: ...
    def notify(self, method: str, params: Mapping[str, Any] | None) -> Future[None]: ...
    def send(self, message: Mapping[str, Any], reply_to: str | None = None) -> Future[None]: ...
    def result(self, result: Mapping[str, Any]) -> Future[None]: ...
    def error(self, error: ErrorData) -> Future[None]: ...
    def cancelled(self) -> None: ...


class Deferral(Protocol):
    """Called in Celery's threads; it may block there."""

    def admits(self, tool: Any, request: Envelope) -> bool:
        """Whether the call is only admitted now, and its tool runs later. Called by the consumer: it must be quick."""
        ...

    def begin(self, job: Job, request: Envelope, *, again: bool) -> Outlet | None:
        """Where the job's answers go; None when it must not run (any more). `again`: it was delivered before."""
        ...

    def fail(self, job: Job, error: ErrorData) -> None:
        """The process that ran the job is lost, or its time is up, and it is not tried again."""
        ...


class Switch:
    """An outlet that may change while the call runs: a call becomes a job."""

    def __init__(self, target: Replies | Outlet, *, tells_progress: bool = True) -> None:
        self.target: Any = target
        self._tells_progress = tells_progress
        self.progress: Mapping[str, Any] | None = None
        """What the tool reported last. Its caller is only told when he asked for it."""

    @property
    def session_id(self) -> str | None:
        return self.target.session_id

    @session_id.setter
    def session_id(self, value: str | None) -> None:
        self.target.session_id = value

    def notify(self, method: str, params: Mapping[str, Any] | None) -> Future[None]:
        if method == "notifications/progress":
            self.progress = params
            if not self._tells_progress and isinstance(self.target, Replies):
                done: Future[None] = Future()
                done.set_result(None)
                return done
        return self.target.notify(method, params)

    def send(self, message: Mapping[str, Any], reply_to: str | None = None) -> Future[None]:
        return self.target.send(message, reply_to)

    def result(self, result: Mapping[str, Any]) -> Future[None]:
        return self.target.result(result)

    def error(self, error: ErrorData) -> Future[None]:
        return self.target.error(error)

    def cancelled(self) -> None:
        if not isinstance(self.target, Replies):
            self.target.cancelled()
