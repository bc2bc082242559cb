"""Dialect: how a session's messages are written on the wire, where that is not just as the SDK writes them.

The SDK counts request ids from 0 in every session. Where a reply queue outlives a session, an answer to an earlier
session's request 1 would be taken for that to this one's. So on such queues ids and progress tokens carry a random
prefix of the session, which servers echo: whatever does not have it belongs to somebody else.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY

from asyncmcp_kombu.envelope import Envelope

Message = dict[str, Any]


class Plain:
    """As the SDK writes them."""

    def outgoing(self, message: Message) -> Message:
        return message

    def incoming(self, envelope: Envelope) -> Envelope:
        return envelope

    def restored(self, message: Message) -> Message:
        return message


class OwnIds(Plain):
    """Ids that no other session has.

    Args:
        announce: further parameters of `initialize`: where answers go, for servers that look for it there.
    """

    def __init__(self, announce: Mapping[str, Any] | None = None) -> None:
        self._prefix = f"{secrets.token_hex(8)}."
        self._announce = dict(announce or {})

    def outgoing(self, message: Message) -> Message:
        """A message of the SDK as it goes out."""
        params = message.get("params")
        if message.get("method") == "notifications/cancelled" and isinstance(params, dict):
            return {**message, "params": {**params, "requestId": self._written(params.get("requestId"))}}
        if "method" not in message or "id" not in message:
            return message
        message = {**message, "id": self._written(message["id"])}
        if isinstance(params, dict) and "progressToken" in (params.get("_meta") or {}):
            meta = {**params["_meta"], "progressToken": self._written(params["_meta"]["progressToken"])}
            message["params"] = {**params, "_meta": meta}
        if message["method"] == "initialize" and self._announce:
            params = message.get("params") or {}
            meta = {**(params.get("_meta") or {}), **self._announce.get("_meta", {})}
            message["params"] = {**params, **self._announce, "_meta": meta}
        return message

    def incoming(self, envelope: Envelope) -> Envelope:
        """A message of the server as the SDK expects it."""
        return replace(
            envelope,
            message=self.restored(dict(envelope.message)),
            related_request=self._read(envelope.related_request),
        )

    def restored(self, message: Message) -> Message:
        """The same, of a message alone."""
        if "method" not in message:
            restored = {**message, "id": self._read(message.get("id"))}
            return {**restored, "result": self._unstamped(message["result"])} if "result" in message else restored
        params = message.get("params")
        if "id" in message or not isinstance(params, dict):
            return message
        if "progressToken" in params:
            params = {**params, "progressToken": self._read(params["progressToken"])}
        return {**message, "params": self._unstamped(params)}

    def made(self, envelope: Envelope) -> bool | None:
        """Whether the message belongs to a request of this session; None when it belongs to no request at all."""
        params = envelope.params
        belongs_to = params.get("progressToken", envelope.belongs_to)
        if belongs_to is None and envelope.kind != "response":
            return None
        return isinstance(belongs_to, str) and belongs_to.startswith(self._prefix)

    def _written(self, value: Any) -> str:
        return self._prefix + json.dumps(value)

    def _read(self, value: Any) -> Any:
        if isinstance(value, str) and value.startswith(self._prefix):
            return json.loads(value.removeprefix(self._prefix))
        return value

    def _unstamped(self, members: dict[str, Any]) -> dict[str, Any]:
        meta = members.get("_meta")
        if not isinstance(meta, dict) or SUBSCRIPTION_ID_META_KEY not in meta:
            return members
        return {**members, "_meta": {**meta, SUBSCRIPTION_ID_META_KEY: self._read(meta[SUBSCRIPTION_ID_META_KEY])}}
