"""Redrive: dead letters go back to the request queue, on any broker: `asyncmcp-kombu queues redrive`.

Each is sent first and then removed, so that a crash in between leaves a copy, and nothing is lost. Its deadline is
left behind: it has passed, and who sends a message back wants it served.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kombu.messaging import Producer

from asyncmcp_kombu.broker.prune import survey
from asyncmcp_kombu.topology import Topology

_LEFT_BEHIND = ("Reason", "Cut", "ExpiresAt", "Receives")


def dead_letters(connection: Any, topology: Topology) -> int:
    """How many wait; on SQS, about."""
    return sum(info.messages for info in survey(connection, topology) if info.kind == "dead")


def redrive(connection: Any, topology: Topology, limit: int) -> Iterator[str]:
    """Move at most `limit` dead letters, the oldest first where the broker keeps the order; yields each one's reason.

    Raises:
        QueueNotFound: on SQS, the request queue does not exist.
        OSError and whatever else `connection.connection_errors` holds; what was moved before stays so.
    """
    with connection.channel() as channel:
        producer = Producer(channel, auto_declare=False)
        for _ in range(limit):
            message = channel.basic_get(topology.dead)
            if message is None:
                return
            headers = dict(message.headers or {})
            reason = str(headers.get("Reason", "too-many-receives"))  # SQS itself gives none
            producer.publish(
                message.body,
                exchange="",
                routing_key=topology.requests,
                headers={name: value for name, value in headers.items() if name not in _LEFT_BEHIND}
                | {"MessageType": "jsonrpc"},
                content_type="application/json",
                content_encoding="utf-8",
                delivery_mode=2,
                retry=False,
            )
            channel.basic_ack(message.delivery_tag)
            yield reason
