"""Deferral: the worker's view of calls that outlive their request. It knows nothing of tasks; `fleet.py` brings one.

Such a call is admitted by `mcp.request`, and its tool runs later as a job: a Celery message of the fleet's own whose
header names it. Where a slot of the pool is free, the tool runs in place instead: in the Celery task of its call, which
becomes the job when the tool is entered. What a job sends and answers goes where the deferral says, not to the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Protocol

from mcp_types.jsonrpc import ErrorData

from asyncmcp_kombu.broker.threads import finished
from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.server.replies import Replies, Reply

JOB = "job"
"""In the header of a Celery message: what the deferral wrote about the job."""
IN_PLACE = "in_place"
"""In the header of a call: it is a job as soon as its tool is entered."""
Job = Mapping[str, Any]


class Outlet(Reply, Protocol):
    """Where what a call sends goes: its caller (`Replies`), or what is kept of a job."""

    def result(self, result: Mapping[str, Any]) -> Future[None]: ...
    def error(self, error: ErrorData) -> Future[None]: ...
    def cancelled(self) -> None: ...


class Deferral(Protocol):
    """Called in Celery's threads; it may block there."""

    def admits(self, tool: Any, request: Envelope) -> bool:
        """Whether the call is to become a job at once. Called by the consumer: it must be quick."""
        ...

    def may_become_a_job(self, tool: Any) -> bool:
        """Whether a call of this tool that was delivered before may have become a job. It must be quick."""
        ...

    def begin(self, job: Job, request: Envelope, *, again: bool) -> Outlet | None:
        """Where the job's answers go; None when it must not run (any more). `again`: it was delivered before."""
        ...

    def fail(self, job: Job, error: ErrorData) -> None:
        """The process that ran the job is lost, or its time is up, and it is not tried again."""
        ...

    def fail_call(self, request: Envelope, error: ErrorData) -> bool:
        """Likewise for a call; False when it had not become a job, so that its caller has to be told."""
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
                return finished()
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
