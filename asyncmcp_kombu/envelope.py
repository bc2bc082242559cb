"""Envelope: one JSON-RPC message and its attributes; parse it, or refuse it with the right code.

Frozen data and plain functions: nothing here knows a broker. The wire binding is docs/wire.md. The body is
the source of truth; attributes that mirror it (`RequestId`, `Method`, `Name`) let brokers and dashboards
route without parsing, and a mirror that contradicts the body is refused with -32020.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from mcp.shared.dispatcher import as_request_id
from mcp.shared.inbound import NAME_BEARING_METHODS
from mcp_types.jsonrpc import RequestId
from pydantic_core import PydanticSerializationError, from_json, to_json

from asyncmcp_kombu.errors import (
    CeleryMessageRefused,
    EnvelopeError,
    MessageTooLarge,
    MirrorMismatch,
    NotJson,
    NotJsonRpc,
)

MAX_BYTES = 1_048_576
"""The largest message in bytes, attributes included. SQS's own limit (since August 2025), and our default
on every broker. https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""

CLOSE_STREAM = "notifications/asyncmcp/close_sse_stream"
"""Sent for a request of a handshake version whose handler wants the HTTP stream in front of it closed (the SDK's
`close_sse_stream`): a bridge closes it, and its client resumes. No other client hears of it."""

Headers = dict[str, str | int | float]
Kind = Literal["request", "notification", "response"]

_NAME_KEYS = {
    **NAME_BEARING_METHODS,
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
_LONGEST_MIRROR = 256
"""Characters of a `Name` that is mirrored; a longer one (a URI) stays in the body only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One JSON-RPC message with what the wire says about it.

    Attributes:
        body: the message as UTF-8 JSON, encoded once.
        message: the same, decoded.
        timestamp, expires_at: epoch seconds. After `expires_at` nobody waits for the answer.
        sequence: place among the messages that answer one request; the response is the last.
        related_request: on a server's notification or request, the client's request that it belongs to.
        sender: whom the broker vouches for as the sender (SQS: the IAM identity); never read from a header.
        audience: on what comes from an exchange, whom it is for: a client id, or `*` for everyone.
    """

    body: bytes = field(repr=False)
    message: Mapping[str, Any] = field(repr=False)
    timestamp: float
    client_id: str | None = None
    session_id: str | None = field(default=None, repr=False)
    reply_to: str | None = None
    expires_at: float | None = None
    protocol_version: str | None = None
    sequence: int | None = None
    related_request: RequestId | None = None
    audience: str | None = None
    sender: str | None = None

    @property
    def kind(self) -> Kind:
        if "method" in self.message:
            return "request" if "id" in self.message else "notification"
        return "response"

    @property
    def request_id(self) -> RequestId | None:
        """The id of the request, of the request that is answered, or of the one a notification belongs to."""
        return self.message.get("id", self.related_request)

    @property
    def belongs_to(self) -> RequestId | None:
        """The client's request that a message from the server is part of the answer to."""
        return self.related_request if self.kind == "request" else self.request_id

    @property
    def method(self) -> str | None:
        return self.message.get("method")

    @property
    def params(self) -> Mapping[str, Any]:
        params = self.message.get("params")
        return params if isinstance(params, dict) else {}

    @property
    def name(self) -> str | None:
        """The tool, prompt, URI or task id that the message is about."""
        value = self.params.get(_NAME_KEYS.get(self.method or "", ""))
        return value if isinstance(value, str) else None

    def expired(self, now: float | None = None) -> bool:
        """Whether nobody waits for the answer any more. `now` is in epoch seconds, by default the clock's."""
        return self.expires_at is not None and (time.time() if now is None else now) >= self.expires_at

    def headers(self) -> Headers:
        """The attributes to send with the body, mirrors last: they give way where room is short."""
        name = self.name
        if name is not None and (len(name) > _LONGEST_MIRROR or not name.isprintable() or not name):
            name = None
        everything = {
            "MessageType": "jsonrpc",
            "Timestamp": round(self.timestamp, 3),
            "ClientId": self.client_id,
            "SessionId": self.session_id,
            "ReplyTo": self.reply_to,
            "ExpiresAt": None if self.expires_at is None else round(self.expires_at, 3),
            "Sequence": self.sequence,
            "Audience": self.audience,
            "RelatedRequestId": _text_or_none(self.related_request) if self.kind == "request" else None,
            "ProtocolVersion": self.protocol_version,
            "RequestId": _text_or_none(self.request_id),
            "Method": self.method,
            "Name": name,
        }
        return {key: value for key, value in everything.items() if value is not None and value != ""}


GIVE_WAY = ("Timestamp", "RequestId", "Method", "Name")
"""Attributes that nobody needs: where SQS's ten are too few, these are left out, the last first."""


def with_own(headers: Headers, own: Mapping[str, str]) -> Headers:
    """An envelope's attributes with a user's own among them, before those that give way."""
    needed = {key: value for key, value in headers.items() if key not in GIVE_WAY}
    return {**needed, **own, **{key: headers[key] for key in GIVE_WAY if key in headers}}


def compose(message: Mapping[str, Any], **attributes: Any) -> Envelope:
    """An envelope to send around a JSON-RPC message.

    What JSON in UTF-8 lacks is replaced: a NaN or infinite float by null, half of a surrogate pair by `?`.
    """
    try:
        body = to_json(message, inf_nan_mode="null")
    except PydanticSerializationError:
        body = to_json(_without_surrogates(message), inf_nan_mode="null")
    return Envelope(body=body, message=message, timestamp=time.time(), **attributes)


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value).items()
        return {_without_surrogates(key): _without_surrogates(item) for key, item in pairs}
    if isinstance(value, list | tuple):
        return [_without_surrogates(item) for item in cast("list[Any]", value)]
    return value


def parse(body: bytes | str, headers: Mapping[str, Any], *, max_bytes: int = MAX_BYTES) -> Envelope:
    """Read one message off a queue.

    Unknown and missing attributes are ignored; numbers may come as text, as SQS sends them.

    Raises:
        EnvelopeError: one of its subclasses says why the message is refused, with the request's id
            where it could be read.
    """
    raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    if "task" in headers:
        raise CeleryMessageRefused("a Celery message (header 'task') is not accepted on the request queue")
    if len(raw) > max_bytes:
        raise MessageTooLarge(len(raw), max_bytes)
    message = _decode(raw)
    request_id = as_request_id(message.get("id"))
    if "task" in message:
        raise CeleryMessageRefused(
            "a Celery message (key 'task') is not accepted on the request queue", request_id=request_id
        )
    _check_shape(message, request_id)
    envelope = Envelope(
        body=raw,
        message=message,
        timestamp=_number(headers, "Timestamp", request_id) or 0.0,
        client_id=_text(headers, "ClientId"),
        session_id=_text(headers, "SessionId"),
        reply_to=_text(headers, "ReplyTo"),
        expires_at=_number(headers, "ExpiresAt", request_id),
        protocol_version=_text(headers, "ProtocolVersion"),
        sequence=_whole(headers, "Sequence", request_id),
        related_request=_related(message, headers),
        audience=_text(headers, "Audience"),
    )
    _check_mirrors(envelope, headers)
    return envelope


def _decode(raw: bytes) -> dict[str, Any]:
    try:
        # jiter, inside pydantic-core, stops at a depth of 200 and accepts no NaN here.
        message = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise NotJson(f"the body is not acceptable JSON: {error}") from None
    if not isinstance(message, dict):
        raise NotJsonRpc(f"the body must be one JSON-RPC object, not {_json_type(message)}")
    return message


def _check_shape(message: dict[str, Any], request_id: RequestId | None) -> None:
    problem = None
    if message.get("jsonrpc") != "2.0":
        problem = 'member "jsonrpc" must be "2.0"'
    elif "method" in message:
        if not isinstance(message["method"], str):
            problem = 'member "method" must be a string'
        elif "id" in message and request_id is None:
            problem = 'member "id" must be a string or an integer'
        elif not isinstance(message.get("params", {}), dict):
            problem = 'member "params" must be an object'
    elif ("result" in message) == ("error" in message):
        problem = 'a message has a "method", or either a "result" or an "error"'
    elif not isinstance(message.get("result", message.get("error")), dict):
        problem = 'member "result" or "error" must be an object'
    if problem is not None:
        raise NotJsonRpc(f"not a JSON-RPC 2.0 message: {problem}", request_id=request_id)


def _check_mirrors(envelope: Envelope, headers: Mapping[str, Any]) -> None:
    own = envelope.message.get("id")
    for attribute, value in (("RequestId", own), ("Method", envelope.method), ("Name", envelope.name)):
        mirror = headers.get(attribute)
        if mirror is not None and value is not None and str(mirror) != str(value):
            raise MirrorMismatch(
                f"attribute {attribute} is {str(mirror)!r}, but the body says {str(value)!r}",
                request_id=as_request_id(own),
            )
    kind = headers.get("MessageType")
    if kind is not None and kind != "jsonrpc":
        raise EnvelopeError(f"attribute MessageType is {kind!r}; 'jsonrpc' is expected", request_id=as_request_id(own))


def _related(message: Mapping[str, Any], headers: Mapping[str, Any]) -> RequestId | None:
    """The request that a server's notification or request belongs to: the body has no such member."""
    if "method" not in message:
        return None
    return _text(headers, "RelatedRequestId" if "id" in message else "RequestId")


def _text_or_none(request_id: RequestId | None) -> str | None:
    return None if request_id is None else str(request_id)


def _text(headers: Mapping[str, Any], name: str) -> str | None:
    value = headers.get(name)
    return None if value is None else str(value)


def _number(headers: Mapping[str, Any], name: str, request_id: RequestId | None) -> float | None:
    value = headers.get(name)
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise EnvelopeError(f"attribute {name} is {value!r}; a number is expected", request_id=request_id)
    return number


def _whole(headers: Mapping[str, Any], name: str, request_id: RequestId | None) -> int | None:
    number = _number(headers, name, request_id)
    return None if number is None else int(number)


def _json_type(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
