"""Reception: takes what arrives for a server in a process without Celery, admits it or refuses it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any

import anyio
import anyio.to_thread
from kombu.connection import Connection

from asyncmcp_kombu.broker import queues
from asyncmcp_kombu.broker.connection import connect
from asyncmcp_kombu.broker.inbox import Inbox
from asyncmcp_kombu.broker.publisher import Publisher
from asyncmcp_kombu.broker.threads import call_soon
from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.errors import EnvelopeError
from asyncmcp_kombu.server.admission import admit, refuse
from asyncmcp_kombu.server.cancellation import CANCELLED, Cancellations, Key, cancelled_by, control_inbox, key_of
from asyncmcp_kombu.server.requests import Settle, settler
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.topology import EVERYONE, Topology

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 100
"""Requests that are served at a time; more wait in the queue, for this process or another."""


class Reception:
    """Consumes the request queue and hears the control exchange while entered; `run` hands it over meanwhile.

    Args:
        take: called by `run` with each request and notification to serve; it must settle the message.
        cancel: called by `run` with each call that its client has cancelled.

    Entering raises BrokerUnreachable when the broker is away; later it is connected to again. Exiting gives what
    was not settled back to the queue and takes less than a second.
    """

    def __init__(
        self,
        topology: Topology,
        settings: Settings,
        take: Callable[[Envelope, Settle], None],
        cancel: Callable[[Key], None],
    ) -> None:
        self._topology, self._settings = topology, settings
        self._take, self._cancel = take, cancel
        # Through a task: anyio knows no event loop in a callback of one.
        self._calls, self._to_make = anyio.create_memory_object_stream[Callable[[], None]](math.inf)
        soon = call_soon()
        self._cancelled = Cancellations()

        def call(what: Callable[[], None]) -> None:
            soon(partial(self._calls.send_nowait, what))

        self.publisher = Publisher(self.connect, retry_for=settings.publish_retry, max_bytes=settings.max_message_bytes)
        self._inbox = Inbox(
            self.connect,
            queues.request_queue(topology),
            lambda message: call(partial(self._arrived, message)),
            also=(queues.dead_queue(topology),),
            temporary=False,
            prefetch=MOST_AT_ONCE,
        )
        self._control = control_inbox(
            topology, self.connect, lambda key: call(partial(self._on_cancel, key)), settings.max_message_bytes
        )

    def connect(self) -> Connection:
        return connect(self._settings.broker_url.get_secret_value(), self._settings)

    async def __aenter__(self) -> Reception:
        try:
            await anyio.to_thread.run_sync(self._control.start)
            await anyio.to_thread.run_sync(self._inbox.start)
        except BaseException:
            await self._close()
            raise
        logger.info("MCP server %r takes requests from %s", self._topology.server, self._topology.requests)
        return self

    async def run(self) -> None:
        """Hand over what arrives, until cancelled."""
        async for make in self._to_make:
            make()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as closing:
                closing.start_soon(anyio.to_thread.run_sync, self._inbox.close)
                closing.start_soon(anyio.to_thread.run_sync, self._control.close)
            await anyio.to_thread.run_sync(self.publisher.close)

    def _arrived(self, message: Any) -> None:
        """One message from the request queue. Whatever is in it, the next one is taken."""
        settle = settler(message, self._inbox.call_soon)
        headers, topology, limit = message.headers or {}, self._topology, self._settings.max_message_bytes
        try:
            envelope = admit(message.body, headers, topology, limit)
        except EnvelopeError as error:
            logger.warning("refused a message on %s: %s", topology.requests, error)
            _settle_after(refuse(message.body, headers, error, topology, self.publisher, limit), settle)
            return
        if envelope.method == CANCELLED:  # from a client that knows no control exchange
            key = cancelled_by(envelope)
            if key is not None:
                self._on_cancel(key)
            _settle_after(self.publisher.publish_to(topology.control, replace(envelope, audience=EVERYONE)), settle)
        elif envelope.kind == "response" or envelope.expired() or key_of(envelope) in self._cancelled:
            settle(True)
        else:
            self._take(envelope, settle)

    def _on_cancel(self, key: Key) -> None:
        self._cancelled.add(key)
        self._cancel(key)


def _settle_after(done: Future[None], settle: Settle) -> None:
    """Acknowledge when `done` succeeded; else the message goes back to the queue."""

    def look(future: Future[None]) -> None:
        error = future.exception()
        if error is not None:
            logger.error("a message could not be passed on, it goes back to the queue: %s", error)
        settle(error is None)

    done.add_done_callback(look)
