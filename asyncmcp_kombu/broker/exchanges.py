"""Exchanges: who is bound for which audience gets what is published for it.

A server has two, events (fan-out to clients) and control (to its workers). On RabbitMQ, Redis and memory each is
a durable direct exchange whose routing keys are audiences, so that a copy goes into every bound queue and waits
there while its consumer connects again; Redis' PUB/SUB would lose it. On SQS it is an SNS topic, and the
transport's channel has a way of its own to bind (sqs_topics.py).

Exchanges stay when nobody is bound any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kombu.transport.virtual import Channel as VirtualChannel


@dataclass(frozen=True, slots=True)
class Binding:
    """What a queue hears of an exchange: what is published for exactly this audience.

    Attributes:
        exchange: its name, `Topology.events` or `Topology.control`.
        audience: a client id, or `topology.EVERYONE` for what concerns all.
    """

    exchange: str
    audience: str


def bind(channel: Any, queue_name: str, *bindings: Binding) -> None:
    """Bind the queue, and create the exchanges that are missing. What is bound already stays so.

    Give all bindings of a queue at once where they are known: on SQS each further audience of a topic replaces
    a subscription.

    Raises:
        BrokerError: SNS refuses.
    """
    for exchange, audiences in _by_exchange(bindings).items():
        if hasattr(channel, "bind_to_topic"):
            channel.bind_to_topic(queue_name, exchange, audiences)
            continue
        declare(channel, exchange)
        for audience in audiences:
            channel.queue_bind(queue_name, exchange, audience)


def unbind(channel: Any, queue_name: str, *bindings: Binding) -> None:
    """Undo `bind`. What is not bound is no error."""
    for exchange, audiences in _by_exchange(bindings).items():
        if hasattr(channel, "unbind_from_topic"):
            channel.unbind_from_topic(queue_name, exchange, audiences)
            continue
        declare(channel, exchange)
        for audience in audiences:
            channel.queue_unbind(queue_name, exchange, audience)


def unbind_all(channel: Any, queue_name: str, exchange: str) -> None:
    """Remove the queue's bindings, whoever made them, because it is to be deleted by another process than its owner.

    Needed on Redis and in memory only: elsewhere deleting the queue does it.
    """
    if isinstance(channel, VirtualChannel) and not hasattr(channel, "unbind_from_topic"):
        declare(channel, exchange)
        table: Any = channel.get_table(exchange)
        unbind(channel, queue_name, *(Binding(exchange, key) for key, _, queue in list(table) if queue == queue_name))


def declare(channel: Any, exchange: str) -> None:
    """Create the exchange unless it exists; one that an operator made with other arguments is left as it is.

    A topic is created by whoever first binds to it or publishes to it.
    """
    if hasattr(channel, "bind_to_topic"):
        return
    if isinstance(channel, VirtualChannel):
        channel.exchange_declare(exchange, "direct", durable=True)
    elif not _exists(channel, exchange):
        channel.exchange_declare(exchange, "direct", durable=True, auto_delete=False)


def _exists(channel: Any, exchange: str) -> bool:
    """Asked over a channel of its own, which AMQP closes when the answer is no. Needs no right to configure."""
    connection = channel.connection
    probe = connection.channel()
    try:
        probe.exchange_declare(exchange, "direct", passive=True)
    except connection.channel_errors:
        return False
    probe.close()
    return True


def _by_exchange(bindings: tuple[Binding, ...]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for binding in bindings:
        grouped.setdefault(binding.exchange, []).append(binding.audience)
    return grouped
