"""Mailbox: the one reply queue, consuming thread and publishing thread that a process shares.

All sessions of a process to one server on one broker use one mailbox: a thousand idle sessions cost three
threads. Replies find their session by the `ClientId` that the server echoes. A session with an address of its own
(a named client, or one with replies by fan-out) has a mailbox to itself.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, NamedTuple

from kombu.connection import Connection

from asyncmcp_kombu.broker import queues
from asyncmcp_kombu.broker.connection import connect, establish
from asyncmcp_kombu.broker.exchanges import Binding
from asyncmcp_kombu.broker.inbox import Inbox
from asyncmcp_kombu.broker.publisher import Publisher, unreachable
from asyncmcp_kombu.client.address import Address, shared_address
from asyncmcp_kombu.client.earlier import EarlierAnswers
from asyncmcp_kombu.envelope import Envelope, compose, parse
from asyncmcp_kombu.errors import BrokerError, BrokerUnreachable, EnvelopeError, PublishError
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.topology import EVERYONE, Topology

logger = logging.getLogger(__name__)

Deliver = Callable[[Envelope], None]

_PREFETCH, _ANY_NUMBER = 100, 0
"""A durable client holds what it does not take, and must not go deaf with it."""
_ANNOUNCED, _UNBOUND = 10.0, 0.5
"""Seconds."""


class _Key(NamedTuple):
    broker_url: str
    topology: Topology
    max_message_bytes: int


class Mailbox:
    """Opened by the first session, closed by the last; see `open_mailbox` and `close_mailbox`.

    Args:
        address: default: a temporary queue, which sessions share.
        earlier: of a durable client, where answers to its former processes are kept.
    """

    def __init__(
        self,
        settings: Settings,
        topology: Topology,
        address: Address | None = None,
        earlier: EarlierAnswers | None = None,
    ) -> None:
        self._address, self._shared = address or shared_address(topology), address is None
        self.reply_to = self._address.reply_to
        self._earlier = earlier
        self._topology, self._max_bytes = topology, settings.max_message_bytes
        self._sessions: dict[str, Deliver] = {}
        self._events = Binding(topology.events, EVERYONE)
        self._listeners: set[str] = set()
        self._bound: Future[None] | None = None
        self._unbound: Future[None] | None = None
        self._always_bound = self._events in self._address.bindings
        self._lock = threading.Lock()

        def new_connection() -> Connection:
            return connect(settings.broker_url.get_secret_value(), settings)

        self._connect = new_connection
        self._inbox = Inbox(
            new_connection,
            self._address.queue,
            self._on_message,
            also=(queues.request_queue(topology),),
            temporary=not self._address.durable,
            prefetch=_ANY_NUMBER if self._address.durable else _PREFETCH,
            bindings=self._address.bindings,
        )
        if earlier is not None:
            earlier.settle = self._inbox.call_soon
        self._publisher = Publisher(new_connection, max_bytes=settings.max_message_bytes)

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

    def close(self) -> None:
        """What concerns everyone no longer goes to a durable queue; else it would fill while its client is away."""
        self._publisher.close()
        if self._address.durable and not (self._earlier is not None and self._earlier.superseded):
            unbound = self._inbox.unbind(self._events) if self._always_bound else self._unbound
            if unbound is not None:
                with suppress(BrokerError, TimeoutError):
                    unbound.result(_UNBOUND)
        self._inbox.close(None if self._earlier is None else self._earlier.give_back)

    def join(self, client_id: str, deliver: Deliver) -> None:
        """Hand what arrives for the client id to `deliver`, which is called in the mailbox's thread."""
        self._sessions[client_id] = deliver

    def leave(self, client_id: str) -> None:
        self.stop_listening(client_id)
        self._sessions.pop(client_id, None)

    def send(self, queue: str, envelope: Envelope) -> Future[None]:
        """Publish to the server's request queue, or to the inbox of who asked."""
        return self._publisher.publish(queue, envelope)

    def tell_everyone(self, envelope: Envelope) -> Future[None]:
        """Publish to every process of the server, whichever holds what the message is about."""
        return self._publisher.publish_to(self._topology.control, envelope)

    def listen(self, client_id: str) -> Future[None]:
        """Have the session hear the server's events; done when the reply queue is bound to their exchange."""
        with self._lock:
            self._listeners.add(client_id)
            if self._always_bound:
                return _done()
            if self._bound is None or (self._bound.done() and self._bound.exception() is not None):
                self._bound = self._inbox.bind(self._events)
            return self._bound

    def stop_listening(self, client_id: str) -> None:
        """The last session to stop unbinds the queue."""
        with self._lock:
            self._listeners.discard(client_id)
            if not self._listeners and self._bound is not None:
                self._bound = None
                self._unbound = self._inbox.unbind(self._events)

    def _on_message(self, message: Any) -> None:
        headers = message.headers or {}
        try:
            envelope = parse(message.body, headers, max_bytes=self._max_bytes)
        except EnvelopeError as error:
            logger.warning("dropped a message on %s: %s", self._address.queue.name, error)
            envelope = _instead_of_response(headers, error)
        if envelope is not None:
            if self._earlier is not None and self._earlier.look(envelope, message):
                return
            its_session = [envelope.client_id or self._only_session()]
            for client_id in self._listening() if envelope.audience == EVERYONE else its_session:
                self._deliver(client_id, envelope)
        message.ack()

    def _only_session(self) -> str:
        """Whose a message is that names no client, as some servers' do: known where the queue is one session's own."""
        return "" if self._shared else next(iter(self._sessions), "")

    def _listening(self) -> list[str]:
        with self._lock:
            return list(self._listeners)

    def _deliver(self, client_id: str, envelope: Envelope) -> None:
        deliver = self._sessions.get(client_id)
        if deliver is None:
            logger.debug("dropped a message for a session that has ended: %r", envelope)
            return
        try:
            deliver(envelope)
        except Exception as error:  # one session's trouble is not the others'
            logger.warning("a session did not take its message: %s", error)


def _done() -> Future[None]:
    done: Future[None] = Future()
    done.set_result(None)
    return done


def _instead_of_response(headers: Mapping[str, Any], error: EnvelopeError) -> Envelope | None:
    """What its caller gets for a response that cannot be read; None for a notification, which nobody awaits."""
    client_id, request_id = headers.get("ClientId"), headers.get("RequestId")
    if "Method" in headers or client_id is None or request_id is None:
        return None
    data = error.error_data().model_dump(mode="json", exclude_none=True)
    message = {"jsonrpc": "2.0", "id": str(request_id), "error": data}
    return compose(message, client_id=str(client_id))


_lock = threading.Lock()
_open: dict[_Key, tuple[Mailbox, int]] = {}
_opening: dict[_Key, threading.Lock] = {}


def _forget_the_parents() -> None:
    global _lock  # noqa: PLW0603  it may have been held by another thread when the process was forked
    _lock = threading.Lock()
    _open.clear()
    _opening.clear()


os.register_at_fork(after_in_child=_forget_the_parents)


def open_mailbox(settings: Settings, topology: Topology) -> Mailbox:
    """This process's mailbox, opened if need be. Blocks meanwhile: call it in a thread.

    Raises:
        BrokerUnreachable: there was none, and the broker cannot be reached.
    """
    key = _Key(settings.broker_url.get_secret_value(), topology, settings.max_message_bytes)
    with _lock:
        one_at_a_time = _opening.setdefault(key, threading.Lock())
    with one_at_a_time:
        with _lock:
            if key in _open:
                mailbox, users = _open[key]
                _open[key] = (mailbox, users + 1)
                return mailbox
        mailbox = Mailbox(settings, topology)
        mailbox.open()
        with _lock:
            _open[key] = (mailbox, 1)
        return mailbox


def close_mailbox(mailbox: Mailbox) -> None:
    """Give the mailbox up; the last user closes it. Blocks meanwhile: call it in a thread."""
    with _lock:
        for key, (one, users) in list(_open.items()):
            if one is mailbox and users > 1:
                _open[key] = (mailbox, users - 1)
                return
            if one is mailbox:
                del _open[key]
    mailbox.close()
