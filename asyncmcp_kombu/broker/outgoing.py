"""What waits to be sent: handed over by any thread, taken in batches by the publisher's senders."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import NamedTuple

from asyncmcp_kombu.envelope import Headers

MOST_AT_ONCE = 10


class Order(NamedTuple):
    """One message, and the future of whoever handed it over."""

    exchange: str
    routing_key: str
    body: bytes
    headers: Headers
    done: Future[None]
    give_up_at: float
    message_id: str
    """The same each time it is sent, so that a FIFO queue takes it once."""

    @property
    def keeps_its_place(self) -> bool:
        """It goes to a FIFO queue or topic, and so must not be overtaken."""
        return (self.exchange or self.routing_key).endswith(".fifo")


class Outgoing:
    """A queue of orders. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._orders: deque[Order] = deque()
        self._lock = threading.Lock()
        self._any, self._many = threading.Condition(self._lock), threading.Condition(self._lock)
        self._closed = False

    def put(self, order: Order) -> bool:
        """False when it is closed."""
        with self._lock:
            if self._closed:
                return False
            self._orders.append(order)
            self._any.notify()
            if len(self._orders) >= MOST_AT_ONCE:
                self._many.notify()
            return True

    def many(self) -> bool:
        """Whether a whole batch waits that may overtake what is on its way."""
        with self._lock:
            return self._has_many()

    def take(self) -> list[Order]:
        """What waits, ten at most; waits for the first. Empty when it is closed and all is taken."""
        with self._lock:
            while not self._orders and not self._closed:
                self._any.wait()
            return self._next()

    def take_many(self) -> list[Order]:
        """A whole batch that may overtake others; waits until there is one. Empty when it is closed."""
        with self._lock:
            while not self._closed and not self._has_many():
                self._many.wait()
            return [] if self._closed else self._next()

    def _next(self) -> list[Order]:
        return [self._orders.popleft() for _ in range(min(MOST_AT_ONCE, len(self._orders)))]

    def _has_many(self) -> bool:
        if len(self._orders) < MOST_AT_ONCE:
            return False
        return not any(self._orders[i].keeps_its_place for i in range(MOST_AT_ONCE))

    def close(self) -> None:
        """Nothing more is taken in; what waits can still be taken."""
        with self._lock:
            self._closed = True
            self._any.notify_all()
            self._many.notify_all()
