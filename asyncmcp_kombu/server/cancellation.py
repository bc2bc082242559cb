"""Cancellation: which calls their clients have cancelled, heard on the control exchange.

Any process may hold the call, or take it from the queue later, so every process hears of every cancellation and
remembers it for a while.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from kombu.connection import Connection
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.jsonrpc_dispatcher import cancelled_request_id_from_params
from mcp_types import RequestId

from asyncmcp_kombu.broker import queues
from asyncmcp_kombu.broker.exchanges import Binding
from asyncmcp_kombu.broker.inbox import Inbox
from asyncmcp_kombu.envelope import Envelope, parse
from asyncmcp_kombu.errors import EnvelopeError
from asyncmcp_kombu.topology import EVERYONE, control_queue

logger = logging.getLogger(__name__)

CANCELLED = "notifications/cancelled"
Key = tuple[str, RequestId]
"""What names a call: its client, and its request id in the form in which the SDK correlates it."""

_REMEMBERED_FOR = 600.0
_MOST_REMEMBERED = 10_000


def key_of(request: Envelope) -> Key | None:
    """The key of a request; None when nobody can cancel it, because it does not say whose it is."""
    return _key(request.client_id, request.message.get("id"))


def cancelled_by(notification: Envelope) -> Key | None:
    """The key of the call that a `notifications/cancelled` is about."""
    return _key(notification.client_id, cancelled_request_id_from_params(notification.params))


def _key(client_id: str | None, request_id: Any) -> Key | None:
    return None if client_id is None or request_id is None else (client_id, coerce_request_id(request_id))


class Cancellations:
    """What was cancelled lately, for requests that arrive after their cancellation. May be used by any thread."""

    def __init__(self) -> None:
        self._at: OrderedDict[Key, float] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, key: Key) -> None:
        now = time.monotonic()
        with self._lock:
            self._at[key] = now
            self._at.move_to_end(key)
            while len(self._at) > _MOST_REMEMBERED or next(iter(self._at.values())) < now - _REMEMBERED_FOR:
                self._at.popitem(last=False)

    def __contains__(self, key: Key | None) -> bool:
        return key is not None and self._at.get(key, -math.inf) > time.monotonic() - _REMEMBERED_FOR


def control_inbox(
    control: str, connect: Callable[[], Connection], on_cancel: Callable[[Key], None], max_bytes: int
) -> Inbox:
    """An inbox that hears what is published to a server's control exchange; `on_cancel` runs in its thread."""

    def on_message(message: Any) -> None:
        try:
            envelope = parse(message.body, message.headers or {}, max_bytes=max_bytes)
        except EnvelopeError as error:
            logger.warning("dropped a message on the control exchange: %s", error)
        else:
            key = cancelled_by(envelope) if envelope.method == CANCELLED else None
            if key is not None:
                on_cancel(key)
        message.ack()

    return Inbox(
        connect,
        queues.reply_queue(control_queue(control)),
        on_message,
        bindings=(Binding(control, EVERYONE),),
    )
