"""Inbox: one thread that consumes one queue, which may be bound to exchanges, and hands over what arrives.

While the broker is away the thread connects again, with growing pauses, and says so in the log.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

from kombu.connection import Connection
from kombu.entity import Queue
from kombu.messaging import Consumer

from asyncmcp_kombu.broker import queues
from asyncmcp_kombu.broker.bindings import Bindings
from asyncmcp_kombu.broker.connection import establish, unreachable
from asyncmcp_kombu.broker.exchanges import Binding
from asyncmcp_kombu.broker.presence import Presence
from asyncmcp_kombu.errors import BrokerError
from asyncmcp_kombu.topology import belongs_to_one_process, is_durable_reply

logger = logging.getLogger(__name__)

OnMessage = Callable[[Any], None]
"""Takes a kombu Message in the inbox's thread; it must settle it (`ack`, `reject`) and must not block."""

PREFETCH = 100
"""Messages that a consumer may hold unsettled."""
_TICK = 0.2
"""Seconds after which the thread looks whether it should end: the bound of `close`."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


class Inbox:
    """Consumes `queue` from `start` to `close`.

    Args:
        also: further queues to create when they are missing.
        temporary: delete the queue when closing.
        prefetch: how many messages may be unsettled at a time; 0 is any number.
        bindings: what the queue hears besides what is sent to it. They are made again whenever the connection
            or the queue is.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        queue: Queue,
        on_message: OnMessage,
        *,
        also: tuple[Queue, ...] = (),
        temporary: bool = True,
        prefetch: int = PREFETCH,
        bindings: Iterable[Binding] = (),
    ) -> None:
        self._connect, self._queue, self._on_message = connect, queue, on_message
        self._also, self._temporary, self._prefetch = also, temporary, prefetch
        self._bindings, self._presence = Bindings(queue.name, bindings), Presence(queue.name)
        self._owned = temporary or belongs_to_one_process(queue.name) or is_durable_reply(queue.name)
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._wake_transport: Callable[[], None] | None = None
        self._started = threading.Event()
        self._failed: Exception | None = None
        self._closing = threading.Event()
        self._last: Callable[[], object] | None = None
        self._thread = threading.Thread(target=self._run, name=f"asyncmcp-inbox-{queue.name}", daemon=True)

    def start(self) -> None:
        """Create what is missing, bind the queue and begin to consume. Blocks until that is done.

        Raises:
            BrokerUnreachable: the first connection failed.
            BrokerError: the broker refuses a binding.
        """
        self._thread.start()
        self._started.wait()
        if isinstance(self._failed, BrokerError):
            raise self._failed
        if self._failed is not None:
            raise unreachable(self._failed) from self._failed

    def bind(self, binding: Binding) -> Future[None]:
        """Hear what is published from now on; the future is done when the binding is made.

        Any thread may call this. What is bound already stays so. While the broker is away the future waits for it.
        Its exception is one of: BrokerError (refused, and not tried again), BrokerUnreachable (the inbox was closed
        before).
        """
        done = self._bindings.ask(binding, bound=True)
        self._wake()
        return done

    def unbind(self, binding: Binding) -> Future[None]:
        """Undo `bind`, likewise. A message that is under way may still arrive."""
        done = self._bindings.ask(binding, bound=False)
        self._wake()
        return done

    def call_soon(self, call: Callable[[], object]) -> None:
        """Have the inbox's thread make a call, within 0.2 s: a message must be settled where it is consumed."""
        self._calls.put(call)
        self._wake()

    def close(self, last: Callable[[], object] | None = None) -> None:
        """Stop consuming, delete a temporary queue, end the thread. Takes less than a second.

        Args:
            last: called in the inbox's thread, where messages can be settled, when no more are handed over.
        """
        self._last = last
        self._closing.set()
        self._wake()
        if self._thread.ident is not None:  # else it was never started
            self._thread.join(5.0)

    def _wake(self) -> None:
        """Where the transport can, end the wait for messages; elsewhere it ends within a tick."""
        wake = self._wake_transport
        if wake is not None:
            wake()

    def _run(self) -> None:
        try:
            self._consume_until_closed()
        finally:
            self._bindings.close()

    def _consume_until_closed(self) -> None:
        pause = _FIRST_PAUSE
        while not self._closing.is_set():
            try:
                with self._connect() as connection:
                    establish(connection)
                    self._prepare(connection)
                    self._consume(connection)
                    return
            except Exception as error:
                if not self._started.is_set():
                    self._failed = error
                    self._started.set()
                    return
                logger.warning("lost the inbox %s, connecting again in %.1f s: %s", self._queue.name, pause, error)
                self._closing.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _prepare(self, connection: Connection) -> None:
        """Create the queues, say that the owner lives, and bind; in this order, lest the queue seem abandoned."""
        for queue in (*self._also, self._queue):
            queues.ensure(connection, queue)
        if self._owned:
            with connection.channel() as channel:
                self._presence.say(channel)
        try:
            self._bindings.make_all(connection)
        except BrokerError:
            if self._temporary and not self._started.is_set():
                queues.delete(connection, self._queue.name)
            raise

    def _consume(self, connection: Connection) -> None:
        channel: Any = connection.channel()
        self._wake_transport = getattr(connection.transport, "wake", None)
        queue = self._queue(channel)
        with Consumer(channel, [queue], on_message=self._on_message, auto_declare=False, prefetch_count=self._prefetch):
            self._started.set()
            while not self._closing.is_set():
                self._make_calls()
                self._bindings.make_changes(connection)
                if self._owned:
                    self._presence.say_if_due(channel)
                try:
                    connection.drain_events(timeout=_TICK)
                except TimeoutError:
                    continue
            if self._last is not None:
                self._calls.put(self._last)
            self._make_calls()
        channel.close()  # before the queue goes: it gives back what was not settled
        if self._temporary:
            queues.delete(connection, self._queue.name)

    def _make_calls(self) -> None:
        while True:
            try:
                call = self._calls.get_nowait()
            except Empty:
                return
            try:
                call()
            except Exception as error:
                logger.warning("a message could not be settled; it comes again: %s", error)
