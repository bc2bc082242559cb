"""The bindings of one consumed queue: which it should have, and what is asked to change, over any number of
connections."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any, NamedTuple

from asyncmcp_kombu.broker import exchanges
from asyncmcp_kombu.broker.exchanges import Binding
from asyncmcp_kombu.errors import BrokerError, BrokerUnreachable, QueueNotFound


class _Change(NamedTuple):
    binding: Binding
    bound: bool
    done: Future[None]


class Bindings:
    """`ask` may be called from any thread; the rest belongs to the thread that consumes."""

    def __init__(self, queue_name: str, bindings: Iterable[Binding]) -> None:
        self._queue_name = queue_name
        self._wanted = set(bindings)
        self._asked: deque[_Change] = deque()
        self._lock = threading.Lock()
        self._closed = False

    def ask(self, binding: Binding, *, bound: bool) -> Future[None]:
        """Have the queue bound, or not. The future is done when it is so."""
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()  # what is asked cannot be taken back
        with self._lock:
            if self._closed:
                done.set_exception(BrokerUnreachable("the inbox is closed"))
            else:
                self._asked.append(_Change(binding, bound, done))
        return done

    def make_all(self, connection: Any) -> None:
        """Bind the queue as it was bound before; for a fresh connection, and a queue that may be fresh, too."""
        if self._wanted:
            with connection.channel() as channel:
                exchanges.bind(channel, self._queue_name, *self._wanted)

    def make_changes(self, connection: Any) -> None:
        """Do what was asked. What the broker refuses fails; when the connection or the queue is lost, that is
        raised, and what is undone waits for the next call."""
        while self._asked:
            binding, bound, done = self._asked[0]
            try:
                with connection.channel() as channel:
                    (exchanges.bind if bound else exchanges.unbind)(channel, self._queue_name, binding)
            except (*connection.connection_errors, QueueNotFound):
                raise
            except BrokerError as error:
                done.set_exception(error)
            except Exception as error:
                done.set_exception(BrokerError(f"the broker refused the binding: {error}"))
            else:
                (self._wanted.add if bound else self._wanted.discard)(binding)
                done.set_result(None)
            self._asked.popleft()

    def close(self) -> None:
        """Whatever is undone fails."""
        with self._lock:
            self._closed = True
        while self._asked:
            self._asked.popleft().done.set_exception(BrokerUnreachable("the inbox is closed"))
