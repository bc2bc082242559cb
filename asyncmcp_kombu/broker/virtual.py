"""What Kombu's virtual exchanges lack, for the transports that use them (Redis, memory).

Kombu puts one and the same message into every queue that an exchange leads to. The copies so share a delivery tag,
under which Redis keeps what consumers hold (who settles one, settles all); and a message that is given back goes
through the exchange again, to everybody. Here every queue gets a copy of its own, addressed to that queue.

Private name of Kombu 5.7 used here: Channel._next_delivery_tag.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_envelope(message: Mapping[str, Any]) -> bool:
    """Whether a message in Kombu's form is one of ours rather than Celery's."""
    return "MessageType" in (message.get("headers") or {})


def copy_for(channel: Any, queue: str, message: dict[str, Any]) -> dict[str, Any]:
    """The message as if it had been published to the queue itself."""
    info = {**message["properties"]["delivery_info"], "exchange": "", "routing_key": queue}
    tag = channel._next_delivery_tag()
    return {**message, "properties": {**message["properties"], "delivery_tag": tag, "delivery_info": info}}
