"""Receives: how often a request was delivered, so that one that kills whoever takes it is not delivered for ever.

SQS counts, and our Redis transport does. RabbitMQ and memory only say "again": there the copy counts that a
worker puts into the queue in place of a message that comes again.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mcp_types import RequestId

from asyncmcp_kombu.errors import TooManyReceives

RECEIVES = "Receives"
"""Attribute of such a copy: how often the request was delivered, this time included."""


def to_be_counted(info: dict[str, Any], headers: Mapping[str, Any]) -> int | None:
    """The count for a copy that is to be sent instead; None when the message can be served as it is.

    Completes `info` (Kombu's `delivery_info`): `receive_count`, and `redelivered` when that is more than one.
    """
    if info.get("receive_count") is None:
        count = 1
        with suppress(TypeError, ValueError, OverflowError):
            count = max(1, int(float(headers.get(RECEIVES, 1))))
        if info.get("redelivered"):
            return count + 1
        info["receive_count"] = count
    info["redelivered"] = bool(info.get("redelivered")) or info["receive_count"] > 1
    return None


def check_receives(info: Mapping[str, Any], most: int, request_id: RequestId | None = None) -> None:
    """Raises:
    TooManyReceives: the request was delivered more than `most` times, each time to a worker that died or gave it back.
    """
    count = info.get("receive_count") or 1
    if count > most:
        raise TooManyReceives(
            f"the request was delivered {count:,} times and never finished: the workers that took it died. It is "
            "kept in the dead-letter queue (asyncmcp-kombu queues redrive sends it back; ASYNCMCP_MAX_RECEIVES)",
            request_id=request_id,
        )
