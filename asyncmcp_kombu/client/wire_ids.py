"""Wire ids: the request ids of a client whose reply queue outlives it, which are never used twice.

The SDK counts its requests from 0 or 1 in each process. On the wire a named client's request n is called
`{incarnation}.{n}` or, where the caller gave it a key, `{incarnation}.{n}:{key}`: a server echoes the id of a request
whatever it is (https://www.jsonrpc.org/specification#response_object), so an answer tells by itself which process
asked, and under which key. The ids that stand elsewhere in a message are exchanged with it: progress tokens (which
the SDK makes of request ids), what a cancellation names, and the ids of subscriptions.
"""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.jsonrpc_dispatcher import cancelled_request_id_from_params
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp_types import RequestId

from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.errors import ConfigurationError

REQUEST_KEY = "io.asyncmcp/requestId"
"""The member of a request's `_meta` by which its caller gives it a key."""
LONGEST_KEY = 128

_WIRE_ID = re.compile(r"([0-9a-f]{29})\.(\d+)(?::(.*))?", re.S)
_REMEMBERED = 1_024
"""Answered requests for which something late may still arrive."""

Message = Mapping[str, Any]


class WireId(NamedTuple):
    """What the id of a named client's request says."""

    incarnation: str
    number: int
    key: str | None


def read_wire_id(request_id: object) -> WireId | None:
    """The parts of a request id; None when no named client made it."""
    found = _WIRE_ID.fullmatch(request_id) if isinstance(request_id, str) else None
    return None if found is None else WireId(found[1], int(found[2]), found[3])


def new_incarnation() -> str:
    """The name of one session of a named client: 64 random bits after the time, so that later ones sort later."""
    return f"{time.time_ns() // 1_000:013x}{secrets.token_hex(8)}"


class WireIds:
    """The ids of one session, both ways. Used in one event loop, but for `made`, which any thread may ask.

    Args:
        announce: further parameters of `initialize`: where answers go, for servers that look for it there.
    """

    def __init__(self, announce: Message | None = None) -> None:
        self.incarnation = new_incarnation()
        self._announce = dict(announce or {})
        self._numbers = itertools.count(1)
        self._own: dict[str, RequestId] = {}
        self._wire: dict[RequestId, str] = {}
        self._answered: OrderedDict[str, None] = OrderedDict()

    def outgoing(self, message: Message) -> Message:
        """The SDK's message as it is sent.

        Raises:
            ConfigurationError: the key that its caller gave it is none.
        """
        method, params = message.get("method"), message.get("params") or {}
        if method is not None and "id" in message:
            return self._request(message, params)
        if method == "notifications/cancelled":
            cancelled = cancelled_request_id_from_params(params)
            wire_id = None if cancelled is None else self._wire.get(coerce_request_id(cancelled))
            if wire_id is not None:
                self._over(wire_id)
                return {**message, "params": {**params, "requestId": wire_id}}
        return message

    def incoming(self, envelope: Envelope) -> Envelope | None:
        """What has arrived, as the SDK knows it; None when it is about no request that this session has open."""
        message = envelope.message
        if envelope.kind == "response":
            wire_id = message.get("id")
            if wire_id is None:
                return envelope
            if str(wire_id) not in self._own or str(wire_id) in self._answered:
                return None
            self._over(str(wire_id))
            answered = {**message, "id": self._own[str(wire_id)]}
            if isinstance(message.get("result"), dict):
                answered["result"] = self._subscription(message["result"])
            return replace(envelope, message=answered)
        related = envelope.related_request
        params = message.get("params") or {}
        ids = (related, _subscription_id(params), _progress_token(envelope))
        if any(read_wire_id(one) is not None and one not in self._own for one in ids):
            return None
        if isinstance(params.get("progressToken"), str):
            params = {**params, "progressToken": self._own.get(params["progressToken"], params["progressToken"])}
        changed = {**message, "params": self._subscription(params)} if params else message
        return replace(
            envelope, message=changed, related_request=None if related is None else self._own.get(str(related), related)
        )

    def made(self, envelope: Envelope) -> bool | None:
        """Whether the message belongs to a request of this session; None when it belongs to no request at all."""
        belongs_to = envelope.params.get("progressToken", envelope.belongs_to)
        if belongs_to is None and envelope.kind != "response":
            return None
        read = read_wire_id(belongs_to)
        return read is not None and read.incarnation == self.incarnation

    def unanswered(self) -> list[RequestId]:
        """The SDK's ids of the requests that wait for an answer."""
        return [own for wire_id, own in self._own.items() if wire_id not in self._answered]

    def _request(self, message: Message, params: Message) -> Message:
        meta: Message = params.get("_meta") or {}
        key, own = meta.get(REQUEST_KEY), message["id"]
        if key is not None and not (isinstance(key, str) and key.isprintable() and 0 < len(key) <= LONGEST_KEY):
            raise ConfigurationError(
                f"{REQUEST_KEY} {key!r}: a key is a text of 1 to {LONGEST_KEY} printable characters"
            )
        wire_id = f"{self.incarnation}.{next(self._numbers)}" + ("" if key is None else f":{key}")
        self._own[wire_id] = own
        self._wire[coerce_request_id(own)] = wire_id
        sent: dict[str, Any] = {**message, "id": wire_id}
        if meta.get("progressToken") == own:
            sent["params"] = {**params, "_meta": {**meta, "progressToken": wire_id}}
        if message["method"] == "initialize" and self._announce:
            sent["params"] = {**params, **self._announce, "_meta": {**meta, **self._announce.get("_meta", {})}}
        return sent

    def _subscription(self, members: Message) -> Message:
        subscription = _subscription_id(members)
        if not isinstance(subscription, str) or subscription not in self._own:
            return members
        return {**members, "_meta": {**members["_meta"], SUBSCRIPTION_ID_META_KEY: self._own[subscription]}}

    def _over(self, wire_id: str) -> None:
        self._answered[wire_id] = None
        if len(self._answered) > _REMEMBERED:
            oldest, _ = self._answered.popitem(last=False)
            own = coerce_request_id(self._own.pop(oldest))
            if self._wire.get(own) == oldest:
                del self._wire[own]


def _subscription_id(members: Message) -> object:
    meta = members.get("_meta")
    return meta.get(SUBSCRIPTION_ID_META_KEY) if isinstance(meta, dict) else None


def _progress_token(envelope: Envelope) -> object:
    return envelope.params.get("progressToken") if envelope.method == "notifications/progress" else None
