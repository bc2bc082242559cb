"""Dead letters: messages that nobody is going to serve, kept for an operator with the reason.

What is needed to serve one after all (its sender, its reply address) stays with it, so that `queues redrive` can send
it back. Mirrors of the body are left out: SQS allows ten attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from asyncmcp_kombu.broker.publisher import Publisher
from asyncmcp_kombu.envelope import Headers

DEAD = "dead"
"""`MessageType` of a dead letter."""
_KEPT = ("Timestamp", "ClientId", "SessionId", "ReplyTo", "ExpiresAt", "ProtocolVersion")
_LONGEST = 1_024
_ROOM, _HEAD = 16_384, 65_536
"""Bytes that attributes may need; bytes that are kept of a body which leaves them no room, and can never be served."""


def bury(
    body: object, headers: Mapping[str, Any], reason: str, queue: str, publisher: Publisher, max_bytes: int
) -> Future[None]:
    """Keep the message in the dead-letter `queue`; done when the broker has accepted it.

    Args:
        reason: one word, the attribute `Reason`.
        max_bytes: of a body that is longer only the beginning is kept, and the attribute `Cut` says how long it was.
    """
    raw = bytes(body) if isinstance(body, bytes | memoryview) else str(body).encode("utf-8", "replace")
    kept: Headers = {"MessageType": DEAD, "Reason": reason}
    kept |= {name: str(headers[name])[:_LONGEST] for name in _KEPT if headers.get(name) not in (None, "")}
    if len(raw) > max_bytes - _ROOM:
        kept["Cut"] = len(raw)
        raw = raw[: max(0, min(_HEAD, max_bytes - _ROOM))]
    return publisher.publish_raw(queue, raw, kept)
