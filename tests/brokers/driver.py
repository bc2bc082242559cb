"""One broker as a test drives it: its queues are deleted, its publishers and inboxes closed afterwards."""

from __future__ import annotations

import queue as queues
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

from kombu import Connection
from kombu import Queue as KombuQueue
from pydantic import SecretStr

from asyncmcp_kombu.broker import queues as broker_queues
from asyncmcp_kombu.broker.connection import connect
from asyncmcp_kombu.broker.exchanges import Binding
from asyncmcp_kombu.broker.inbox import Inbox
from asyncmcp_kombu.broker.publisher import Publisher
from asyncmcp_kombu.envelope import Envelope, compose
from asyncmcp_kombu.settings import Settings
from tests.services import delete_queues, remember

SOON = 20.0
"""Seconds in which something must happen that takes milliseconds on an idle machine."""


def numbered(number: int, **attributes: Any) -> Envelope:
    return compose({"jsonrpc": "2.0", "id": number, "method": "ping"}, **attributes)


class Arrival(NamedTuple):
    message: Any
    at: float

    @property
    def redelivered(self) -> bool:
        return bool((self.message.delivery_info or {}).get("redelivered"))


class Arrivals:
    """Collects what an inbox is given; settles it at once unless told otherwise."""

    def __init__(self, settle: Callable[[Any], None] | None = None) -> None:
        self._settle = settle or (lambda message: message.ack())
        self._queue: queues.SimpleQueue[Arrival] = queues.SimpleQueue()

    def __call__(self, message: Any) -> None:
        self._queue.put(Arrival(message, time.monotonic()))
        self._settle(message)

    def next(self, timeout: float = SOON) -> Arrival:
        """Raises queue.Empty when nothing arrives in time."""
        return self._queue.get(timeout=timeout)

    def take(self, count: int, timeout: float = SOON) -> list[Any]:
        give_up_at = time.monotonic() + timeout
        return [self.next(max(0.0, give_up_at - time.monotonic())).message for _ in range(count)]

    def nothing_more(self, seconds: float) -> bool:
        with suppress(queues.Empty):
            self.next(seconds)
            return False
        return True


def leave(message: Any) -> None:
    """Settles nothing: the message stays with its consumer."""


class Driver:
    def __init__(self, broker_url: str, prefix: str, **settings: Any) -> None:
        self.url, self.prefix = broker_url, prefix
        self.settings = Settings(broker_url=SecretStr(broker_url), prefix=prefix, **settings)
        self._closing: list[Callable[[], None]] = []
        self._queues: list[str] = []
        self._sender: Publisher | None = None

    def connect(self) -> Connection:
        return connect(self.url, self.settings)

    def name(self, suffix: str) -> str:
        return remember(f"{self.prefix}{suffix}")

    def queue(self, suffix: str = "workers-requests") -> KombuQueue:
        """A durable queue, made now and deleted when the test ends."""
        queue = broker_queues.reply_queue(self.name(suffix))
        queue.expires = None
        with self.connect() as connection:
            broker_queues.ensure(connection, queue)
        self._queues.append(queue.name)
        return queue

    def exchange(self, suffix: str = "workers-events") -> str:
        """The name of an exchange, which is deleted when the test ends."""
        name = self.name(suffix)
        self._queues.append(name)
        return name

    def reply_queue(self, owner: str) -> KombuQueue:
        """A reply queue, made and deleted by its inbox."""
        return broker_queues.reply_queue(self.name(f"workers-reply-{owner}"))

    def publisher(self, **options: Any) -> Publisher:
        publisher = Publisher(self.connect, **options)
        self._closing.append(publisher.close)
        return publisher

    def send(self, queue: KombuQueue, *envelopes: Envelope) -> None:
        """Publish in this order and wait until the broker has accepted all."""
        self._sender = self._sender or self.publisher()
        for sent in [self._sender.publish(queue.name, envelope) for envelope in envelopes]:
            sent.result(SOON)

    def announce(self, exchange: str, *envelopes: Envelope) -> None:
        """Publish to the exchange in this order and wait until the broker has accepted all."""
        self._sender = self._sender or self.publisher()
        for sent in [self._sender.publish_to(exchange, envelope) for envelope in envelopes]:
            sent.result(SOON)

    def inbox(
        self,
        queue: KombuQueue,
        arrivals: Callable[[Any], None],
        *,
        temporary: bool = False,
        bindings: Iterable[Binding] = (),
    ) -> Inbox:
        """A started inbox, closed with the test unless it was before."""
        inbox = Inbox(self.connect, queue, arrivals, temporary=temporary, bindings=bindings)
        inbox.start()
        self._closing.append(inbox.close)
        return inbox

    def closing(self, close: Callable[[], None]) -> None:
        """Have something closed with the test."""
        self._closing.append(close)

    def close(self) -> None:
        if self._closing:
            with ThreadPoolExecutor(len(self._closing)) as pool:
                list(pool.map(lambda close: close(), self._closing))
        delete_queues(self.url, self._queues)
