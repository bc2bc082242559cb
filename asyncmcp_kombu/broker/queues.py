"""The queues of a server as Kombu objects; make what is missing, and really delete.

All are on the default exchange, where the routing key is the queue's name: a message needs no binding.
"""

from __future__ import annotations

from typing import Any

from kombu.entity import Exchange, Queue
from kombu.transport.virtual import Channel as VirtualChannel

from asyncmcp_kombu.topology import Topology

REPLY_QUEUE_EXPIRES = 300
"""Seconds after which RabbitMQ deletes a reply or control queue that nobody consumes from."""

_DEFAULT = Exchange("")


def request_queue(topology: Topology) -> Queue:
    return Queue(topology.requests, _DEFAULT, routing_key=topology.requests)


def named(name: str) -> Queue:
    """A queue by its name, or on SQS by its URL."""
    return Queue(name, _DEFAULT, routing_key=name)


def jobs_queue(topology: Topology) -> Queue:
    return Queue(topology.jobs, _DEFAULT, routing_key=topology.jobs)


def dead_queue(topology: Topology) -> Queue:
    return Queue(topology.dead, _DEFAULT, routing_key=topology.dead)


def reply_queue(name: str) -> Queue:
    return Queue(name, _DEFAULT, routing_key=name, expires=REPLY_QUEUE_EXPIRES)


def durable_reply_queue(name: str, retention: int) -> Queue:
    """One that waits for its owner, and keeps each message for `retention` seconds.

    RabbitMQ and SQS (broker/sqs.py) read the argument when the queue is made; Redis has a time to live of its own.
    """
    return Queue(name, _DEFAULT, routing_key=name, queue_arguments={"x-message-ttl": retention * 1000})


def control_queue(name: str) -> Queue:
    """Where one worker process hears what is published to the control exchange."""
    return reply_queue(name)


def ensure(connection: Any, queue: Queue) -> None:
    """Create the queue unless it exists; one that an operator made with other arguments is left as it is."""
    if not _is_virtual(connection):
        with connection.channel() as channel:
            try:
                queue(channel).queue_declare(passive=True)
            except connection.channel_errors:  # it does not exist, and AMQP has closed the channel
                pass
            else:
                return
    with connection.channel() as channel:
        queue(channel).declare()


def have_dead_letters(connection: Any, topology: Topology, max_receives: int) -> None:
    """Create the dead-letter queue; on SQS, also have it take what was received more than `max_receives` times.

    The request queue exists. A redrive policy that an operator gave it is left as it is.
    """
    ensure(connection, dead_queue(topology))
    with connection.channel() as channel:
        if hasattr(channel, "redrive_to"):
            channel.redrive_to(topology.requests, topology.dead, max_receives)


def delete(connection: Any, name: str) -> None:
    """Delete the queue with its bindings and all that is in it; one that does not exist is no error."""
    with connection.channel() as channel:
        channel.queue_delete(name)


def _is_virtual(connection: Any) -> bool:
    return isinstance(connection.default_channel, VirtualChannel)
