"""Listening: which of the server's change events a session gets, and as which messages.

The fan-out exchange brings every listening process every event. Here they are filtered by what the server
acknowledged and stamped with the subscription's id (2026-07-28), or passed on as they are to a session of a handshake
version that subscribed to a resource or was promised list changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.jsonrpc_dispatcher import cancelled_request_id_from_params
from mcp.shared.subscriptions import (
    SUBSCRIPTION_ID_META_KEY,
    ServerEvent,
    event_from_wire,
    event_matches,
    event_to_notification,
)
from mcp_types import RequestId, SubscriptionFilter
from pydantic import ValidationError

from asyncmcp_kombu.envelope import Envelope

Message = dict[str, Any]

_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"


@dataclass(slots=True)
class _Stream:
    subscription_id: RequestId
    honored: SubscriptionFilter | None = None
    early: list[ServerEvent] = field(default_factory=list[ServerEvent])
    """What came before the acknowledgement, which a queue may deliver late."""


class Listening:
    """What one session listens to. Used in one event loop."""

    def __init__(self) -> None:
        self._streams: dict[RequestId, _Stream] = {}
        self._lists = SubscriptionFilter()
        self._uris: set[str] = set()
        self._initialize: RequestId | None = None

    @property
    def active(self) -> bool:
        return bool(self._streams or self._uris or self._lists.model_dump(exclude_none=True))

    def sends(self, message: Mapping[str, Any]) -> None:
        """Take note of a message that is about to be sent; `active` afterwards tells whether to listen."""
        method, params, request_id = message.get("method"), message.get("params") or {}, message.get("id")
        if method == "subscriptions/listen" and request_id is not None:
            self._streams[coerce_request_id(request_id)] = _Stream(request_id)
        elif method == "notifications/cancelled":
            cancelled = cancelled_request_id_from_params(params)
            if cancelled is not None:
                self._streams.pop(coerce_request_id(cancelled), None)
        elif method == "resources/subscribe" and isinstance(params.get("uri"), str):
            self._uris.add(params["uri"])
        elif method == "resources/unsubscribe":
            self._uris.discard(params.get("uri", ""))
        elif method == "initialize":
            self._initialize = request_id

    def receives(self, envelope: Envelope) -> list[Message]:
        """Take note of a message that has arrived; what is to follow it."""
        if envelope.kind == "response":
            request_id = envelope.message.get("id")
            if request_id is not None:
                self._streams.pop(coerce_request_id(request_id), None)
                if request_id == self._initialize:
                    self._lists = _promised(envelope.message.get("result") or {})
            return []
        if envelope.method != _ACKNOWLEDGED:
            return []
        subscription_id = (envelope.params.get("_meta") or {}).get(SUBSCRIPTION_ID_META_KEY)
        stream = None if subscription_id is None else self._streams.get(coerce_request_id(subscription_id))
        if stream is None or stream.honored is not None:
            return []
        try:
            stream.honored = SubscriptionFilter.model_validate(envelope.params.get("notifications"))
        except ValidationError:  # the session will say so
            return []
        early, stream.early = stream.early, []
        return [_stamped(event, stream) for event in early if _within(stream.honored, event)]

    def hears(self, envelope: Envelope) -> list[Message]:
        """The messages that an event for everyone becomes in this session."""
        event = event_from_wire(envelope.method or "", envelope.params)
        if event is None:
            return []
        messages: list[Message] = []
        for stream in self._streams.values():
            if stream.honored is None:
                stream.early.append(event)
            elif _within(stream.honored, event):
                messages.append(_stamped(event, stream))
        if event_matches(self._lists, frozenset(self._uris), event):
            messages.append(dict(envelope.message))
        return messages


def _within(honored: SubscriptionFilter, event: ServerEvent) -> bool:
    return event_matches(honored, frozenset(honored.resource_subscriptions or ()), event)


def _stamped(event: ServerEvent, stream: _Stream) -> Message:
    notification = event_to_notification(event, {SUBSCRIPTION_ID_META_KEY: stream.subscription_id})
    return {"jsonrpc": "2.0", **notification.model_dump(by_alias=True, mode="json", exclude_none=True)}


def _promised(initialize_result: Mapping[str, Any]) -> SubscriptionFilter:
    """The list changes of which a handshake server says that it tells."""
    capabilities = initialize_result.get("capabilities") or {}
    tools, prompts, resources = (
        (capabilities.get(kind) or {}).get("listChanged") is True or None for kind in ("tools", "prompts", "resources")
    )
    return SubscriptionFilter(tools_list_changed=tools, prompts_list_changed=prompts, resources_list_changed=resources)
