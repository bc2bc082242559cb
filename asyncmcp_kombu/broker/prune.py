"""Which queues a server has, and deleting those whose owners died: `asyncmcp-kombu queues list` and `queues prune`.

Only reply and control queues have an owner. What says that it lives is told in broker/presence.py. The owner of a
durable reply queue may be away for long, so that its queue is deleted only where this is asked for. RabbitMQ cannot
list its queues over AMQP and deletes abandoned ones itself, so that only the server's durable queues are seen there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from asyncmcp_kombu.broker import exchanges, queues
from asyncmcp_kombu.broker.presence import BEAT, Sighting
from asyncmcp_kombu.topology import QueueKind, Topology

ABANDONED_AFTER = 4 * BEAT
"""Seconds after which a silent owner is taken for dead, unless said otherwise."""


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """One queue of a server.

    Attributes:
        messages: how many wait in it; on SQS, about.
        last_seen: when its owner last said that it lives, in epoch seconds; None when it never did.
        abandoned: whether `prune` would delete it.
    """

    name: str
    kind: QueueKind
    messages: int
    last_seen: float | None
    abandoned: bool


def survey(
    connection: Any, topology: Topology, *, older_than: float = ABANDONED_AFTER, durable: bool = False
) -> list[QueueInfo]:
    """The server's queues, by name. With `durable`, a durable reply queue may count as abandoned, too.

    Raises:
        BrokerError: AWS refuses to tell.
    """
    with connection.channel() as channel:
        return sorted(_infos(connection, channel, topology, older_than, durable), key=lambda info: info.name)


def prune(
    connection: Any, topology: Topology, older_than: float, *, dry_run: bool = False, durable: bool = False
) -> list[str]:
    """Delete reply and control queues whose owner was not seen for `older_than` seconds, with their bindings.

    On SQS, subscriptions of the server's topics go, too, whose queue does not exist any more. A queue whose owner
    never said a word is deleted when it was made longer ago than that; on Redis, which does not know when, if it
    is bound. Durable reply queues stay, unless `durable`.

    Returns:
        What was deleted: names of queues, and `topic -> queue` for subscriptions. With `dry_run`, what would be.

    Raises:
        BrokerError: AWS refuses; what was deleted before stays so.
    """
    deleted: list[str] = []
    with connection.channel() as channel:
        for info in _infos(connection, channel, topology, older_than, durable):
            if info.abandoned:
                if not dry_run:
                    for exchange in (topology.events, topology.control):
                        exchanges.unbind_all(channel, info.name, exchange)
                    queues.delete(connection, info.name)
                deleted.append(info.name)
        if hasattr(channel, "drop_stale_subscriptions"):
            for exchange in (topology.events, topology.control):
                deleted += channel.drop_stale_subscriptions(exchange, dry_run=dry_run)
    return deleted


def _infos(connection: Any, channel: Any, topology: Topology, older_than: float, durable: bool) -> Iterator[QueueInfo]:
    now = time.time()
    owned = {"reply", "control", "durable"} if durable else {"reply", "control"}
    for sighting in _sightings(connection, channel, topology):
        kind = topology.kind_of(sighting.name)
        if kind is not None:
            silent = sighting.alive_at is not None and now - sighting.alive_at > older_than
            yield QueueInfo(sighting.name, kind, sighting.messages, sighting.seen, kind in owned and silent)


def _sightings(connection: Any, channel: Any, topology: Topology) -> Iterator[Sighting]:
    if hasattr(channel, "sightings"):
        yield from channel.sightings(topology)
        return
    for name in (topology.requests, topology.jobs, topology.dead):
        with connection.channel() as probe:
            try:
                declared = probe.queue_declare(name, passive=True)
            except connection.channel_errors:
                continue
            yield Sighting(name, declared.message_count)
