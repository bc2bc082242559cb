"""Publisher: one thread that sends all messages of a process to one broker.

A message is sent at once when the thread is idle; what comes in while a request is under way is gathered
and sent together, which SQS takes as one batch. No delay is ever added. One thread also keeps the order in
which messages were handed over.
"""

from __future__ import annotations

import logging
import queue as queues
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from itertools import groupby
from typing import Any, NamedTuple

from kombu.connection import Connection
from kombu.messaging import Producer

from asyncmcp_kombu.broker import exchanges
from asyncmcp_kombu.broker.connection import establish
from asyncmcp_kombu.envelope import MAX_BYTES, Envelope, Headers, with_own
from asyncmcp_kombu.errors import AsyncMcpError, BrokerUnreachable, MessageTooLarge, PublishError
from asyncmcp_kombu.topology import EVERYONE, is_topic

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 10
_CLOSING = 5.0
_TYPE = len("String")
"""Bytes that SQS counts for the type of an attribute; `Number` is as long."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


class _Order(NamedTuple):
    exchange: str
    routing_key: str
    body: bytes
    headers: Headers
    done: Future[None]
    give_up_at: float
    message_id: str
    """The same each time it is sent, so that a FIFO queue takes it once."""


class Publisher:
    """Sends messages to queues and exchanges. All methods may be called from any thread.

    Args:
        connect: makes the Kombu connection, called in the thread.
        retry_for: seconds for which a message is tried again while the broker is away, counted from
            `publish`; 0 tries once more over a fresh connection and then fails.
        max_bytes: the largest body and attributes that are sent.
        fan_out: the exchange that may stand where `publish` takes a queue, as the address of replies by fan-out.
        attributes: sent with every envelope, besides its own.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        *,
        retry_for: float = 0.0,
        max_bytes: int = MAX_BYTES,
        attributes: Mapping[str, str] | None = None,
        fan_out: str | None = None,
    ) -> None:
        self._connect, self._attributes = connect, dict(attributes or {})
        self._retry_for, self._max_bytes, self._fan_out = retry_for, max_bytes, fan_out
        self._orders: queues.SimpleQueue[_Order | None] = queues.SimpleQueue()
        self._connection: Connection | None = None
        self._producer: Producer | None = None
        self._declared: set[str] = set()
        self._closed = False
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def publish(self, queue: str, envelope: Envelope) -> Future[None]:
        """Send an envelope to a queue, or to an SNS topic by its ARN; done when the broker has accepted it.

        To `fan_out` it goes as by `publish_to`.

        Its exception is one of: MessageTooLarge, QueueNotFound (on SQS; RabbitMQ drops a message for a queue
        that does not exist, Redis makes the list), PublishError (refused), BrokerUnreachable (not accepted, or
        not known to be).
        """
        if queue == self._fan_out:
            return self.publish_to(queue, envelope)
        if is_topic(queue):
            return self.publish_to(queue, replace(envelope, audience=envelope.client_id or EVERYONE))
        return self.publish_raw(queue, envelope.body, self._headers(envelope))

    def publish_raw(self, queue: str, body: bytes, headers: Headers) -> Future[None]:
        """Like `publish`, for a body that is no envelope (a dead letter)."""
        return self._hand_over("", queue, body, headers)

    def publish_to(self, exchange: str, envelope: Envelope) -> Future[None]:
        """Like `publish`, to every queue that is bound to the exchange for the envelope's audience.

        An envelope that names no audience is for its client. Nobody bound is no error.

        Raises:
            ValueError: the envelope names neither an audience nor a client.
        """
        audience = envelope.audience or envelope.client_id
        if not audience:
            raise ValueError("an envelope for an exchange needs an audience: a client id, or EVERYONE")
        return self._hand_over(exchange, audience, envelope.body, self._headers(replace(envelope, audience=audience)))

    def _headers(self, envelope: Envelope) -> Headers:
        return envelope.headers() if not self._attributes else with_own(envelope.headers(), self._attributes)

    def _hand_over(self, exchange: str, routing_key: str, body: bytes, headers: Headers) -> Future[None]:
        done: Future[None] = Future()
        size = len(body) + sum(len(name) + len(str(value)) + _TYPE for name, value in headers.items())
        with self._lock:
            if self._closed:
                done.set_exception(BrokerUnreachable("the publisher is closed"))
            elif size > self._max_bytes:
                done.set_exception(MessageTooLarge(size, self._max_bytes))
            else:
                give_up_at = time.monotonic() + self._retry_for
                self._orders.put(_Order(exchange, routing_key, body, headers, done, give_up_at, str(uuid.uuid4())))
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="asyncmcp-publisher", daemon=True)
                    self._thread.start()
        return done

    def close(self) -> None:
        """Send what was handed over, for at most 5 s, and end the thread. What remains fails."""
        with self._lock:
            self._closed = True
            thread = self._thread
        self._closing.set()
        self._orders.put(None)
        if thread is not None:
            thread.join(_CLOSING)

    def _run(self) -> None:
        while True:
            batch = self._gather()
            if not batch:
                break
            # From here on a future can no longer be cancelled; what was cancelled before is not sent.
            self._send([order for order in batch if order.done.set_running_or_notify_cancel()])
        self._disconnect()

    def _gather(self) -> list[_Order]:
        """The next message and what else has been handed over; empty when closing and all is sent."""
        first = self._orders.get()
        if first is None:
            return []
        batch = [first]
        while len(batch) < MOST_AT_ONCE:
            try:
                order = self._orders.get_nowait()
            except queues.Empty:
                break
            if order is None:
                self._orders.put(None)  # closing: found again after this batch
                break
            batch.append(order)
        return batch

    def _send(self, batch: list[_Order]) -> None:
        """Send until every message is accepted, refused, or out of time."""
        pause, attempt = _FIRST_PAUSE, 0
        while batch:
            outcomes = self._attempt(batch)
            again: list[_Order] = []
            for order, outcome in zip(batch, outcomes, strict=True):
                if outcome is None:
                    order.done.set_result(None)
                elif isinstance(outcome, BrokerUnreachable) and self._may_retry(order, attempt):
                    again.append(order)
                else:
                    order.done.set_exception(outcome)
            batch, attempt = again, attempt + 1
            if batch:
                self._disconnect()
                if attempt > 1:
                    logger.warning("cannot send %d message(s), trying again in %.1f s", len(batch), pause)
                    self._closing.wait(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)

    def _may_retry(self, order: _Order, attempt: int) -> bool:
        # A connection that idled may be dead without our knowing: the first failure proves nothing.
        return attempt == 0 or (time.monotonic() < order.give_up_at and not self._closing.is_set())

    def _attempt(self, batch: list[_Order]) -> list[Exception | None]:
        """What became of each message; never raises, for an exception would end the thread for all."""
        outcomes: list[Exception | None] = []
        for to_exchanges, orders in groupby(batch, lambda order: bool(order.exchange)):
            outcomes += self._publish(list(orders), to_exchanges)
        return outcomes

    def _publish(self, orders: list[_Order], to_exchanges: bool) -> Sequence[Exception | None]:
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

    def _publish_one(self, order: _Order) -> Exception | None:
        taken_for_granted = order.exchange in self._declared
        outcome = self._try_one(order)
        if isinstance(outcome, PublishError) and taken_for_granted and order.exchange not in self._declared:
            return self._try_one(order)  # the exchange may have been deleted since
        return outcome

    def _try_one(self, order: _Order) -> Exception | None:
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
            self._disconnect()
            return unreachable(error)
        except Exception as error:
            self._disconnect()  # an AMQP channel is closed by an error
            return PublishError(f"the broker refused the message: {error}")
        return None

    def _connected(self) -> Producer:
        if self._producer is None:
            self._connection = self._connect()
            establish(self._connection)
            self._producer = Producer(self._connection.channel(), auto_declare=False)
        return self._producer

    def _disconnect(self) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        self._declared.clear()
        if connection is not None:
            try:
                connection.release()
            except Exception as error:
                logger.debug("closing a broken connection: %s", error)


def unreachable(error: Exception) -> BrokerUnreachable:
    """A connection error as ours, saying what to do."""
    if isinstance(error, BrokerUnreachable):
        return error
    return BrokerUnreachable(
        f"the broker cannot be reached: {type(error).__name__}: {error}; check ASYNCMCP_BROKER_URL, or start the "
        "embedded one with `asyncmcp-kombu local`"
    )


def _virtual(channel: Any, order: _Order) -> dict[str, Any]:
    message = channel.prepare_message(
        order.body,
        content_type="application/json",
        content_encoding="utf-8",
        headers=dict(order.headers),
        properties={"message_id": order.message_id},
    )
    channel._inplace_augment_message(message, order.exchange, order.routing_key)
    return message
