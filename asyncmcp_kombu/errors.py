"""One error tree: each error knows its JSON-RPC code and says what to do next.

Codes -32768 to -32000 are JSON-RPC's; MCP 2026-07-28 leaves -32000 to -32019 to implementations (the SDK
takes -32000 and -32001) and allots -32020 onwards itself. Ours are -32010 to -32017.
"""

from __future__ import annotations

from typing import Any, ClassVar

from mcp_types.jsonrpc import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    RequestId,
)


class AsyncMcpError(Exception):
    """Base of every error of this package.

    `code` is the JSON-RPC code under which the error travels; `reason` a stable word for programs,
    sent as `error.data.reason`.
    """

    code: ClassVar[int] = INTERNAL_ERROR
    reason: ClassVar[str] = "internal"

    def error_data(self) -> ErrorData:
        """The error as it is put on the wire."""
        return ErrorData(code=self.code, message=str(self), data={"reason": self.reason, **self.details()})

    def details(self) -> dict[str, Any]:
        """Further members of `error.data`; never a secret."""
        return {}


class ConfigurationError(AsyncMcpError, ValueError):
    """A setting or an argument cannot be used; the text names it and what is expected."""

    reason = "configuration"


# --- the envelope -----------------------------------------------------------------------------------


class EnvelopeError(AsyncMcpError):
    """A message on a queue is not an acceptable envelope.

    `request_id` and `reply_to` are what could be read of the message, so that its sender can be told.
    """

    code = INVALID_REQUEST
    reason = "invalid-envelope"

    def __init__(self, message: str, *, request_id: RequestId | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id


class NotJson(EnvelopeError):
    """The body is not UTF-8 JSON, or is nested too deep."""

    code = PARSE_ERROR
    reason = "not-json"


class NotJsonRpc(EnvelopeError):
    """The body is JSON, but not exactly one JSON-RPC 2.0 message."""

    reason = "not-jsonrpc"


class MirrorMismatch(EnvelopeError):
    """An attribute that mirrors the body contradicts it."""

    code = HEADER_MISMATCH
    reason = "mirror-mismatch"


class CeleryMessageRefused(EnvelopeError):
    """The message is shaped as a Celery task: it could name any registered task, so it is never run."""

    reason = "celery-message"


class ReplyAddressRefused(EnvelopeError):
    """The reply address is missing or outside the allowed pattern."""

    reason = "reply-address"


class SessionRefused(EnvelopeError):
    """A request of a handshake-era version has no session id, or one that this server did not sign."""

    reason = "session"


class TooManyReceives(EnvelopeError):
    """The request was delivered as often as it may be, and whoever took it died or gave it back."""

    reason = "too-many-receives"
    code = -32017


class MessageTooLarge(EnvelopeError):
    """The message exceeds the limit of the broker or of the settings."""

    reason = "too-large"
    code = -32013

    def __init__(self, size: int, limit: int, *, what: str = "message", request_id: RequestId | None = None):
        super().__init__(
            f"the {what} is {size:,} bytes and the limit is {limit:,} bytes; send less, or raise "
            "ASYNCMCP_MAX_MESSAGE_BYTES where the broker allows more (SQS does not: 1,048,576 bytes)",
            request_id=request_id,
        )
        self.size, self.limit = size, limit

    def details(self) -> dict[str, Any]:
        return {"size": self.size, "limit": self.limit}


# --- the broker -------------------------------------------------------------------------------------


class BrokerError(AsyncMcpError):
    """The broker did not do what was asked."""

    reason = "broker"


class BrokerUnreachable(BrokerError, ConnectionError):
    """No connection to the broker; nothing was accepted."""

    reason = "broker-unreachable"


class PublishError(BrokerError):
    """The broker refused a message; it was not accepted."""

    reason = "publish"


class QueueNotFound(PublishError):
    """The queue that a message is for does not exist (any more)."""

    reason = "queue-not-found"


class ClientSuperseded(BrokerError):
    """A newer process opened the durable client of this id, and its reply queue with all answers is that one's now."""

    reason = "client-superseded"


# --- a call that could not be answered by its tool -----------------------------------------------------


class CallError(AsyncMcpError):
    """A call ended without an answer of its tool; the caller gets this instead of silence."""


class WorkerLost(CallError):
    """The process that ran the tool died, as often as the call may be tried."""

    code = -32010
    reason = "worker-lost"


class TimeLimitReached(CallError):
    """The tool ran into its hard time limit and was ended."""

    code = -32011
    reason = "time-limit"


class OutcomeUnknown(CallError):
    """An at-most-once tool was started, and its process died: it may or may not have had its effect."""

    code = -32012
    reason = "outcome-unknown"


class ReplyTooLarge(CallError):
    """The tool finished, but its answer exceeds what the broker carries."""

    code = -32014
    reason = "reply-too-large"


class CallRejected(CallError):
    """The tool gave the call up by raising Celery's `Reject` or `Ignore`."""

    code = -32015
    reason = "rejected"


class StartNotNoted(CallError):
    """An at-most-once tool was not started, because its start could not be noted."""

    code = -32018
    reason = "start-not-noted"


class RetriesExhausted(CallError):
    """The tool of a task failed, was tried again as often as it may be, and failed each time."""

    code = -32016
    reason = "retries-exhausted"


# --- tasks, at the client ---------------------------------------------------------------------------------


class TaskFailed(AsyncMcpError):
    """A task has no result of its tool: it failed, was cancelled, or there is no task.

    `task` is what the server said last, where there is a task; `result` what the tool answered at once.
    """

    reason = "task-failed"

    def __init__(self, message: str, *, task: Any = None, result: Any = None) -> None:
        super().__init__(message)
        self.task, self.result = task, result

    def error_data(self) -> ErrorData:
        """The error that the server told of the task; else one that says how it ended."""
        error: dict[str, Any] | None = None if self.task is None else self.task.error
        return super().error_data() if error is None else ErrorData.model_validate(error)
