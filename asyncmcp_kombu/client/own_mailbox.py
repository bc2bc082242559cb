"""OwnMailbox: the mailbox of one session with an address of its own: a named client, or one with replies by fan-out."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from asyncmcp_kombu.broker import queues
from asyncmcp_kombu.broker.connection import connector, establish, unreachable
from asyncmcp_kombu.broker.exchanges import Binding
from asyncmcp_kombu.broker.inbox import PREFETCH, Inbox, OnMessage
from asyncmcp_kombu.broker.publisher import Publisher
from asyncmcp_kombu.client.address import Address
from asyncmcp_kombu.client.earlier import EarlierAnswers
from asyncmcp_kombu.client.mailbox import Mailbox
from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.errors import BrokerError, BrokerUnreachable, PublishError
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.topology import Topology

logger = logging.getLogger(__name__)

_ANY_NUMBER = 0
"""A durable client holds what it does not take, and must not go deaf with it."""
_ANNOUNCED, _UNBOUND = 10.0, 0.5
"""Seconds."""


class OwnMailbox(Mailbox):
    """Serves one session.

    Args:
        earlier: of a durable client, where answers to its former processes are kept.
    """

    def __init__(
        self,
        settings: Settings,
        topology: Topology,
        client_id: str,
        address: Address,
        earlier: EarlierAnswers | None = None,
    ) -> None:
        self._address, self._earlier = address, earlier
        self._connect = connector(settings)

        def inbox(on_message: OnMessage) -> Inbox:
            return Inbox(
                self._connect,
                address.queue,
                on_message,
                also=(queues.request_queue(topology),),
                temporary=not address.durable,
                prefetch=_ANY_NUMBER if address.durable else PREFETCH,
                bindings=address.bindings,
            )

        super().__init__(
            topology,
            reply_to=address.reply_to,
            inbox=inbox,
            publisher=Publisher(self._connect, max_bytes=settings.max_message_bytes),
            max_bytes=settings.max_message_bytes,
            claim=lambda envelope: envelope.client_id or client_id,  # some servers echo no id
        )
        self._always_bound = self._events in address.bindings
        if earlier is not None:
            earlier.settle = self._inbox.call_soon

    def open(self, announce: Envelope | None = None) -> None:
        """Args: announce: written to the own queue before it is read, for whoever reads there still."""
        if announce is not None:
            with self._connect() as connection:
                try:
                    establish(connection)
                    queues.ensure(connection, self._address.queue)
                except Exception as error:
                    raise unreachable(error) from error
            try:
                self._publisher.publish(self._address.queue.name, announce).result(_ANNOUNCED)
            except TimeoutError:
                raise BrokerUnreachable(f"the broker did not accept a message within {_ANNOUNCED:g} s") from None
            except PublishError as error:
                logger.warning("another process with this client id will not hear that it is superseded: %s", error)
        self._inbox.start()

    def close(self, unbind: Binding | None = None) -> None:
        """What concerns everyone no longer goes to a durable queue; else it would fill while its client is away."""
        self._publisher.close()
        if self._address.durable and self._events is not None and not (self._earlier and self._earlier.superseded):
            unbound = self._inbox.unbind(self._events) if self._always_bound else self._unbound
            if unbound is not None:
                with suppress(BrokerError, TimeoutError):
                    unbound.result(_UNBOUND)
        self._inbox.close(None if self._earlier is None else self._earlier.give_back)

    def _keeps(self, envelope: Envelope, message: Any) -> bool:
        return self._earlier is not None and self._earlier.look(envelope, message)
