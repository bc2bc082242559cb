"""Arrivals: messages on their way from the pollers' threads to the thread that drains, or to the event loop."""

from __future__ import annotations

import contextlib
import queue as queues
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

Payload = dict[str, Any]
Deliver = Callable[[Any, str, Payload], None]
"""Takes over one message: channel, queue name, message in Kombu's virtual form."""


class Arrivals:
    """A queue with two ends: `put` from any thread, and one consumer that waits, or whose event loop is rung."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._queue: queues.SimpleQueue[tuple[Any, str, Payload] | None] = queues.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting: Counter[int] = Counter()
        self._loop: Any = None
        self._bell: socket.socket | None = None
        self._rope: socket.socket | None = None

    def put(self, channel: Any, queue: str, payloads: list[Payload]) -> None:
        with self._lock:
            self._waiting[id(channel)] += len(payloads)
        for payload in payloads:
            self._queue.put((channel, queue, payload))
        rope = self._rope
        if rope is not None:
            with contextlib.suppress(OSError):  # full: it rings already; closed: nobody listens any more
                rope.send(b"\0")

    def waiting(self, channel: Any) -> int:
        """Messages that have arrived for the channel and are not delivered yet."""
        return self._waiting[id(channel)]

    def wake(self) -> None:
        """Have a `deliver` that waits in another thread return at once."""
        self._queue.put(None)

    def deliver(self, timeout: float | None) -> None:
        """Deliver what has arrived; wait for the first, at most `timeout` seconds. Raises TimeoutError."""
        try:
            arrival = self._queue.get(timeout=timeout)
        except queues.Empty:
            raise TimeoutError from None
        if arrival is None:
            raise TimeoutError
        self._hand_over(*arrival)
        self._deliver_rest()

    def taken_back(self) -> Iterator[Payload]:
        """What was not delivered, when the connection closes."""
        return (payload for _, _, payload in self._rest())

    def join_event_loop(self, loop: Any) -> None:
        """Ring a bell that Kombu's hub listens to. A hub that has nothing to read naps for 0.1 s instead of
        polling, and would hear neither arrivals nor acknowledgements meanwhile (Kombu 5.7)."""
        self.leave_event_loop()
        self._bell, self._rope = socket.socketpair()
        self._bell.setblocking(False)
        self._rope.setblocking(False)
        loop.add_reader(self._bell, self._on_bell)
        self._loop = loop

    def leave_event_loop(self) -> None:
        loop, bell, rope = self._loop, self._bell, self._rope
        self._loop = self._bell = self._rope = None
        if bell is not None and rope is not None:
            loop.remove_reader(bell)
            bell.close()
            rope.close()

    def _on_bell(self) -> None:
        with contextlib.suppress(OSError):
            while self._bell is not None and self._bell.recv(4096):
                pass
        self._deliver_rest()

    def _deliver_rest(self) -> None:
        for arrival in self._rest():
            self._hand_over(*arrival)

    def _rest(self) -> Iterator[tuple[Any, str, Payload]]:
        """Takes what is there now."""
        while True:
            try:
                arrival = self._queue.get_nowait()
            except queues.Empty:
                return
            if arrival is not None:
                yield arrival

    def _hand_over(self, channel: Any, queue: str, payload: Payload) -> None:
        try:
            self._deliver(channel, queue, payload)
        finally:
            with self._lock:
                self._waiting[id(channel)] -= 1
