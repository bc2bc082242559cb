"""Mailbox: the one reply queue, consuming thread and publishing thread that a process shares.

All sessions of a process to one server on one broker use one mailbox: a thousand idle sessions cost three
threads. Replies find their session by the `ClientId` that the server echoes. A session with an address of its own
(a named client, or one with replies by fan-out) has a mailbox to itself: own_mailbox.py.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from asyncmcp_kombu.broker import queues
from asyncmcp_kombu.broker.connection import connector
from asyncmcp_kombu.broker.exchanges import Binding
from asyncmcp_kombu.broker.inbox import Inbox, OnMessage
from asyncmcp_kombu.broker.misdirected import pass_on
from asyncmcp_kombu.broker.publisher import Publisher
from asyncmcp_kombu.broker.threads import finished
from asyncmcp_kombu.envelope import Envelope, compose, parse
from asyncmcp_kombu.errors import BrokerError, EnvelopeError
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.topology import EVERYONE, Routes, Topology, new_client_id

logger = logging.getLogger(__name__)

Deliver = Callable[[Envelope], None]
Claim = Callable[[Envelope], str | None]
"""Says which session a message is for, by its client id; None when another consumer of the queue may wait for it."""


_UNBINDING = 2.0
"""Seconds for which closing waits for a binding to be undone."""


class _Key(NamedTuple):
    broker_url: str
    topology: Topology
    max_message_bytes: int


def _echoed(envelope: Envelope) -> str:
    return envelope.client_id or ""


class Mailbox:
    """Opened by the first session, closed by the last; see `open_mailbox` and `close_mailbox`."""

    def __init__(
        self,
        routes: Routes,
        *,
        reply_to: str | None,
        inbox: Callable[[OnMessage], Inbox],
        publisher: Publisher,
        max_bytes: int,
        claim: Claim = _echoed,
    ) -> None:
        """Args: reply_to: what servers are told; inbox: makes the inbox for the queue that this leads to."""
        self.reply_to, self._routes, self._max_bytes = reply_to, routes, max_bytes
        self._inbox, self._publisher, self._claim = inbox(self._on_message), publisher, claim
        self._sessions: dict[str, Deliver] = {}
        self._events = None if routes.events is None else Binding(routes.events, EVERYONE)
        self._listeners: set[str] = set()
        self._bound: Future[None] | None = None
        self._unbound: Future[None] | None = None
        self._always_bound = False
        self._lock = threading.Lock()

    def open(self) -> None:
        self._inbox.start()

    def close(self, unbind: Binding | None = None) -> None:
        self._publisher.close()
        if unbind is not None:
            with suppress(BrokerError, TimeoutError):
                self._inbox.unbind(unbind).result(_UNBINDING)
        self._inbox.close()

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
        """Publish to every process of the server, whichever holds what the message is about.

        Where the server has no exchange for that it goes the way of requests.
        """
        if self._routes.control is None:
            return self._publisher.publish(self._routes.requests, envelope)
        return self._publisher.publish_to(self._routes.control, replace(envelope, audience=EVERYONE))

    def listen(self, client_id: str) -> Future[None]:
        """Have the session hear the server's events; done when the reply queue is bound to their exchange."""
        if self._events is None:  # events come as a subscription's answers do
            return finished()
        with self._lock:
            self._listeners.add(client_id)
            if self._always_bound:
                return finished()
            if self._bound is None or (self._bound.done() and self._bound.exception() is not None):
                self._bound = self._inbox.bind(self._events)
            return self._bound

    def stop_listening(self, client_id: str) -> None:
        """The last session to stop unbinds the queue."""
        with self._lock:
            self._listeners.discard(client_id)
            if not self._listeners and self._bound is not None and self._events is not None:
                self._bound = None
                self._unbound = self._inbox.unbind(self._events)

    def _on_message(self, message: Any) -> None:
        headers = message.headers or {}
        try:
            envelope = parse(message.body, headers, max_bytes=self._max_bytes)
        except EnvelopeError as error:
            logger.warning("dropped a message for %s: %s", self.reply_to, error)
            envelope = _instead_of_response(headers, error)
        else:
            owner = self._claim(envelope)
            if owner is None:
                pass_on(message)
                return
            envelope = replace(envelope, client_id=owner)
        if envelope is not None:
            if self._keeps(envelope, message):
                return
            for client_id in self._listening() if envelope.audience == EVERYONE else [envelope.client_id or ""]:
                self._deliver(client_id, envelope)
        message.ack()

    def _keeps(self, envelope: Envelope, message: Any) -> bool:
        """Whether the message is for no session, and settled later."""
        return False

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
        mailbox = _with_a_queue_of_its_own(settings, topology)
        mailbox.open()
        with _lock:
            _open[key] = (mailbox, 1)
        return mailbox


def _with_a_queue_of_its_own(settings: Settings, topology: Topology) -> Mailbox:
    name = topology.reply(new_client_id())

    new_connection = connector(settings)
    return Mailbox(
        topology,
        reply_to=name,
        inbox=lambda on_message: Inbox(
            new_connection, queues.reply_queue(name), on_message, also=(queues.request_queue(topology),)
        ),
        publisher=Publisher(new_connection, max_bytes=settings.max_message_bytes),
        max_bytes=settings.max_message_bytes,
    )


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
