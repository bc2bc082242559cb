"""A call as a Celery message: in place while it is handed to the pool, or re-published for a queue of jobs.

The tool's arguments are the task's keyword arguments, so that Celery's log, events, Flower and signals show
them; the rest of the request travels in the header `mcp`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from celery.utils.saferepr import saferepr
from kombu.message import Message

from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.server.cancellation import Key, key_of
from asyncmcp_kombu.worker.trace_context import trace_headers

HEADER = "mcp"
AGAIN = "again"
"""In that header: the request was delivered before, which a message that was made of it does not show."""
_END_OF_TIME = 253_402_300_000.0
"""Epoch seconds: the end of the year 9999, and of what Python's dates reach."""
_SHORT = 1_024
"""Bytes of a body whose arguments are shown whole."""
_KEPT = ("client_id", "session_id", "reply_to", "expires_at", "protocol_version", "timestamp", "sender")


def call_id(key: Key | None) -> str:
    """The Celery task id: the same for each delivery of one request, and as unguessable as its client id."""
    if key is None:
        return str(uuid.uuid4())
    client_id, request_id = key
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{client_id}/{request_id!r}"))


def arguments_of(envelope: Envelope) -> dict[str, Any] | None:
    """The tool's arguments; None when the request is no well-formed `tools/call`, which the SDK then says."""
    arguments = envelope.params.get("arguments", {})
    return arguments if envelope.method == "tools/call" and isinstance(arguments, dict) else None


def to_header(envelope: Envelope, *, without_arguments: bool) -> dict[str, Any]:
    """What the task needs besides its arguments, as JSON data."""
    message = dict(envelope.message)
    if without_arguments:
        message["params"] = {key: value for key, value in envelope.params.items() if key != "arguments"}
    header: dict[str, Any] = {"message": message, "with_arguments": not without_arguments}
    return header | {key: getattr(envelope, key) for key in _KEPT if getattr(envelope, key) is not None}


def from_header(header: Mapping[str, Any], arguments: Mapping[str, Any]) -> Envelope:
    """The request again, from its header and the task's keyword arguments."""
    message = dict(header["message"])
    if not header["with_arguments"]:
        message["params"] = {**message.get("params", {}), "arguments": dict(arguments)}
    kept: dict[str, Any] = {key: header[key] for key in _KEPT if key in header}
    kept.setdefault("timestamp", 0.0)
    return Envelope(body=b"", message=message, **kept)


def _as_date(expires_at: float | None) -> str | None:
    """As Celery wants it; None for a deadline that no calendar knows, which is none."""
    if expires_at is None or not 0 <= expires_at < _END_OF_TIME:
        return None
    return datetime.fromtimestamp(expires_at, UTC).isoformat()


def _shown(arguments: dict[str, Any], size: int) -> str:
    """For Celery's log and events. `saferepr` shortens what is long, and takes ten times as long for what is short."""
    return repr(arguments) if size <= _SHORT else saferepr(arguments)


class CallMessage(Message):
    """The broker's message, as Celery's strategies and requests want to see it.

    It is settled (acknowledged, rejected) on the channel that delivered it. Body and headers were made by
    this worker, so nothing that a client wrote is taken for Celery's own.
    """

    @classmethod
    def around(
        cls, delivered: Message, task_name: str, envelope: Envelope, *, shadow: str | None, jobs: str, **marks: Any
    ) -> CallMessage:
        """Args: shadow: a name to show instead of the task's; jobs: the queue that a retry is sent to; marks: what
        else the header says."""
        arguments = arguments_of(envelope)
        task_id = call_id(key_of(envelope))
        info = delivered.delivery_info or {}
        return cls(
            channel=delivered.channel,
            delivery_tag=delivered.delivery_tag,
            body=((), arguments or {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}),
            delivery_info={
                "exchange": "",
                "routing_key": jobs,
                "redelivered": bool(info.get("redelivered")),
                "receive_count": info.get("receive_count"),
            },
            headers={
                "lang": "py",
                "task": task_name,
                "shadow": shadow,
                "id": task_id,
                "root_id": task_id,
                "parent_id": None,
                "group": None,
                "argsrepr": "()",
                "kwargsrepr": _shown(arguments or {}, len(envelope.body)),
                "origin": envelope.client_id,
                "retries": 0,
                "eta": None,
                "expires": _as_date(envelope.expires_at),
                "timelimit": [None, None],
                "ignore_result": True,
                HEADER: to_header(envelope, without_arguments=arguments is not None) | marks,
                **trace_headers(envelope),
            },
        )

    @property
    def payload(self) -> Any:
        """The body is data already: nothing is left to decode."""
        return self.body
