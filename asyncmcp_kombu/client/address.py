"""Address: where a client's mail goes, its own queue or the fan-out exchange, and what becomes of the queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kombu.entity import Queue

from asyncmcp_kombu.broker import queues
from asyncmcp_kombu.broker.exchanges import Binding
from asyncmcp_kombu.errors import ConfigurationError
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.topology import EVERYONE, LONGEST_CLIENT_ID, Topology, is_client_id, new_client_id

RepliesBy = Literal["queue", "fanout"]


@dataclass(frozen=True, slots=True)
class Address:
    """The mail of one mailbox.

    Attributes:
        queue: which it reads.
        reply_to: what its requests say: the queue's name, or that of the events exchange.
        bindings: what the queue hears of exchanges, from the start.
        durable: whether the queue outlives the mailbox.
    """

    queue: Queue
    reply_to: str
    bindings: tuple[Binding, ...] = ()
    durable: bool = False


def check_client_id(client_id: str) -> None:
    """Raises ConfigurationError when messages cannot be published for a client of that id."""
    if not is_client_id(client_id):
        raise ConfigurationError(
            f"client_id {client_id!r}: use at most {LONGEST_CLIENT_ID} letters, digits, '-' and '_', and none of the "
            "words for queues (as in 'x-requests', 'reply-x')"
        )


def own_address(
    topology: Topology, settings: Settings, client_id: str, *, durable: bool, replies: RepliesBy
) -> Address:
    """The address of one session that shares no mailbox.

    Raises:
        ConfigurationError: no queue can be named after the id.
    """
    if durable:
        queue = queues.durable_reply_queue(topology.durable_reply(client_id), settings.durable_retention)
    else:
        queue = queues.reply_queue(topology.reply(new_client_id()))
    if replies == "queue":
        return Address(queue, queue.name, durable=durable)
    # For everyone from the start: on SQS, to bind for one more audience later replaces the subscription, and an answer
    # that is published in that moment would be missed.
    bindings = Binding(topology.events, client_id), Binding(topology.events, EVERYONE)
    return Address(queue, topology.events, bindings, durable)
