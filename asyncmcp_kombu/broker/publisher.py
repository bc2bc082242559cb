"""Publisher: sends all messages of a process to one broker, in a thread.

A message is sent at once when the thread is idle; what comes in while a request is under way is gathered
and sent together, which SQS takes as one batch. No delay is ever added. One thread also keeps the order in
which messages were handed over. Where the broker has no order to keep (SQS, but for FIFO queues), a second
thread helps while whole batches gather behind the first: never with less, for that would cost requests.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace

from kombu.connection import Connection

from asyncmcp_kombu.broker.outgoing import Order, Outgoing
from asyncmcp_kombu.broker.sender import Sender
from asyncmcp_kombu.envelope import MAX_BYTES, Envelope, Headers, with_own
from asyncmcp_kombu.errors import BrokerUnreachable, MessageTooLarge
from asyncmcp_kombu.topology import EVERYONE, is_topic

_CLOSING = 5.0
_TYPE = len("String")
"""Bytes that SQS counts for the type of an attribute; `Number` is as long."""


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
        self._outgoing = Outgoing()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._helper: threading.Thread | None = None

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
        if size > self._max_bytes:
            done.set_exception(MessageTooLarge(size, self._max_bytes))
            return done
        give_up_at = time.monotonic() + self._retry_for
        order = Order(exchange, routing_key, body, headers, done, give_up_at, str(uuid.uuid4()))
        if self._thread is None:
            self._start()
        if not self._outgoing.put(order):
            done.set_exception(BrokerUnreachable("the publisher is closed"))
        return done

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = self._started("asyncmcp-publisher", self._outgoing.take)

    def close(self) -> None:
        """Send what was handed over, for at most 5 s, and end the threads. What remains fails."""
        self._outgoing.close()
        self._closing.set()
        give_up_at = time.monotonic() + _CLOSING
        for thread in (self._thread, self._helper):
            if thread is not None:
                thread.join(max(0.0, give_up_at - time.monotonic()))

    def _run(self, take: Callable[[], list[Order]]) -> None:
        sender = Sender(self._connect, self._closing)
        while batch := take():
            if self._helper is None and not sender.keeps_order and self._outgoing.many():
                self._helper = self._started("asyncmcp-publisher-2", self._outgoing.take_many)
            # From here on a future can no longer be cancelled; what was cancelled before is not sent.
            sender.send([order for order in batch if order.done.set_running_or_notify_cancel()])
        sender.close()

    def _started(self, name: str, take: Callable[[], list[Order]]) -> threading.Thread:
        thread = threading.Thread(target=self._run, args=(take,), name=name, daemon=True)
        thread.start()
        return thread
