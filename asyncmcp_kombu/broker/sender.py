"""Sender: sends messages over one connection, several at once where the broker can, again while it is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from kombu.connection import Connection
from kombu.messaging import Producer

from asyncmcp_kombu.broker import exchanges
from asyncmcp_kombu.broker.connection import establish, unreachable
from asyncmcp_kombu.broker.outgoing import Order
from asyncmcp_kombu.errors import AsyncMcpError, BrokerUnreachable, PublishError

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


class Sender:
    """Belongs to one thread.

    Args:
        connect: makes the Kombu connection, when the first message is sent and after each failure.
        closing: set when nothing shall be tried again.
    """

    def __init__(self, connect: Callable[[], Connection], closing: threading.Event) -> None:
        self._connect, self._closing = connect, closing
        self._connection: Connection | None = None
        self._producer: Producer | None = None
        self._declared: set[str] = set()

    @property
    def keeps_order(self) -> bool:
        """Whether the broker delivers in the order in which messages are sent. True while that is not known."""
        return self._producer is None or getattr(self._producer.channel, "keeps_order", True)

    def send(self, batch: list[Order]) -> None:
        """Send until every message is accepted, refused, or out of time."""
        pause, attempt = _FIRST_PAUSE, 0
        while batch:
            outcomes = self._attempt(batch)
            again: list[Order] = []
            for order, outcome in zip(batch, outcomes, strict=True):
                if outcome is None:
                    order.done.set_result(None)
                elif isinstance(outcome, BrokerUnreachable) and self._may_retry(order, attempt):
                    again.append(order)
                else:
                    order.done.set_exception(outcome)
            batch, attempt = again, attempt + 1
            if batch:
                self.close()
                if attempt > 1:
                    logger.warning("cannot send %d message(s), trying again in %.1f s", len(batch), pause)
                    self._closing.wait(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)

    def _may_retry(self, order: Order, attempt: int) -> bool:
        # A connection that idled may be dead without our knowing: the first failure proves nothing.
        return attempt == 0 or (time.monotonic() < order.give_up_at and not self._closing.is_set())

    def _attempt(self, batch: list[Order]) -> list[Exception | None]:
        """What became of each message; never raises, for an exception would end the thread for all."""
        outcomes: list[Exception | None] = []
        for to_exchanges, orders in groupby(batch, lambda order: bool(order.exchange)):
            outcomes += self._publish(list(orders), to_exchanges)
        return outcomes

    def _publish(self, orders: list[Order], to_exchanges: bool) -> Sequence[Exception | None]:
        if len(orders) > 1:
            try:
                channel: Any = self._connected().channel
            except Exception as error:
                return [unreachable(error)] * len(orders)
            at_once = getattr(channel, "publish_many" if to_exchanges else "put_many", None)
            if at_once is not None:
                try:
                    return at_once(
                        [(order.exchange or order.routing_key, _virtual(channel, order)) for order in orders]
                    )
                except Exception as error:
                    logger.exception("a batch could not be sent")
                    return [PublishError(f"the batch could not be sent: {error}")] * len(orders)
        return [self._publish_one(order) for order in orders]

    def _publish_one(self, order: Order) -> Exception | None:
        taken_for_granted = order.exchange in self._declared
        outcome = self._try_one(order)
        if isinstance(outcome, PublishError) and taken_for_granted and order.exchange not in self._declared:
            return self._try_one(order)  # the exchange may have been deleted since
        return outcome

    def _try_one(self, order: Order) -> Exception | None:
        try:
            producer = self._connected()
        except Exception as error:
            return unreachable(error)
        assert self._connection is not None
        connection_errors = self._connection.connection_errors
        try:
            if order.exchange and order.exchange not in self._declared:
                exchanges.declare(producer.channel, order.exchange)
                self._declared.add(order.exchange)
            producer.publish(
                order.body,
                exchange=order.exchange,
                routing_key=order.routing_key,
                headers=order.headers,
                content_type="application/json",
                content_encoding="utf-8",
                delivery_mode=2,
                message_id=order.message_id,
                retry=False,
            )
        except AsyncMcpError as error:
            return error
        except connection_errors as error:
            self.close()
            return unreachable(error)
        except Exception as error:
            self.close()  # an AMQP channel is closed by an error
            return PublishError(f"the broker refused the message: {error}")
        return None

    def _connected(self) -> Producer:
        if self._producer is None:
            self._connection = self._connect()
            establish(self._connection)
            self._producer = Producer(self._connection.channel(), auto_declare=False)
        return self._producer

    def close(self) -> None:
        """Drop the connection. What is sent next makes another."""
        connection, self._connection, self._producer = self._connection, None, None
        self._declared.clear()
        if connection is not None:
            try:
                connection.release()
            except Exception as error:
                logger.debug("closing a broken connection: %s", error)


def _virtual(channel: Any, order: Order) -> dict[str, Any]:
    message = channel.prepare_message(
        order.body,
        content_type="application/json",
        content_encoding="utf-8",
        headers=dict(order.headers),
        properties={"message_id": order.message_id},
    )
    channel._inplace_augment_message(message, order.exchange, order.routing_key)
    return message
