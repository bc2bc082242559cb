"""Reception: takes what arrives for a server in a process without Celery, admits it or refuses it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any

import anyio
import anyio.to_thread
from kombu.connection import Connection

from asyncmcp_kombu.broker import queues
from asyncmcp_kombu.broker.inbox import Inbox
from asyncmcp_kombu.broker.misdirected import pass_on
from asyncmcp_kombu.broker.publisher import Publisher
from asyncmcp_kombu.broker.threads import call_soon
from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.errors import BrokerUnreachable, EnvelopeError
from asyncmcp_kombu.server.admission import Admission
from asyncmcp_kombu.server.cancellation import CANCELLED, Cancellations, Key, cancelled_by, control_inbox, key_of
from asyncmcp_kombu.server.requests import Settle, settler
from asyncmcp_kombu.server.sessions import Sessions
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.topology import EVERYONE, Routes

logger = logging.getLogger(__name__)

PROGRESS = "notifications/progress"
MOST_AT_ONCE = 100
"""Requests that are served at a time; more wait in the queue, for this process or another."""


class Reception:
    """Consumes the request queue and hears the control exchange while entered; `run` hands it over meanwhile.

    Args:
        connect: makes Kombu connections to the broker.
        settings: limits and patience; its broker URL is not looked at.
        take: called by `run` with each request and notification to serve; it must settle the message.
        cancel: called by `run` with each call that its client has cancelled.
        answered: called by `run` with what clients answer by way of the request queue (asyncmcp's do); tells whether
            this process has asked. What it has not is given back for the process that has.

    Entering raises BrokerUnreachable when the broker is away; later it is connected to again. Exiting gives what
    was not settled back to the queue and takes less than a second.
    """

    def __init__(
        self,
        routes: Routes,
        settings: Settings,
        connect: Callable[[], Connection],
        sessions: Sessions,
        take: Callable[[Envelope, Settle], None],
        cancel: Callable[[Key], None],
        answered: Callable[[Envelope], bool] = lambda _: False,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        self._routes, self._answered = routes, answered
        self._answers_come_here = routes.new_inbox() is None
        self._admission = Admission(routes, sessions, settings.max_message_bytes)
        self._take, self._cancel = take, cancel
        # Through a task: anyio knows no event loop in a callback of one.
        self._calls, self._to_make = anyio.create_memory_object_stream[Callable[[], None]](math.inf)
        soon = call_soon()
        self._cancelled = Cancellations()

        def call(what: Callable[[], None]) -> None:
            soon(partial(self._calls.send_nowait, what))

        self.publisher = Publisher(
            connect,
            retry_for=settings.publish_retry,
            max_bytes=settings.max_message_bytes,
            attributes=attributes,
            fan_out=routes.events,
        )
        self._inbox = Inbox(
            connect,
            queues.named(routes.requests),
            lambda message: call(partial(self._arrived, message)),
            also=() if routes.dead is None else (queues.named(routes.dead),),
            temporary=False,
            prefetch=MOST_AT_ONCE,
        )
        self._control: Inbox | None = None
        if routes.control is not None:
            self._control = control_inbox(
                routes.control, connect, lambda key: call(partial(self._on_cancel, key)), settings.max_message_bytes
            )

    async def __aenter__(self) -> Reception:
        try:
            if self._control is not None:
                await anyio.to_thread.run_sync(self._control.start)
            await anyio.to_thread.run_sync(self._inbox.start)
        except BaseException:
            await self._close()
            raise
        logger.info("MCP server %r takes requests from %s", self._routes.server, self._routes.requests)
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
                if self._control is not None:
                    closing.start_soon(anyio.to_thread.run_sync, self._control.close)
            await anyio.to_thread.run_sync(self.publisher.close)

    def _arrived(self, message: Any) -> None:
        """One message from the request queue. Whatever is in it, the next one is taken."""
        settle = settler(message, self._inbox.call_soon)
        try:
            envelope = self._admission.admit(message)
        except EnvelopeError as error:
            logger.warning("refused a message on %s: %s", self._routes.requests, error)
            _settle_after(self._admission.refuse(message, error, self.publisher), settle)
            return
        if envelope.method == CANCELLED:  # from a client that knows no control exchange
            key = cancelled_by(envelope)
            if key is not None:
                self._on_cancel(key)
            if self._routes.control is None:
                settle(True)
            else:
                everyone = replace(envelope, audience=EVERYONE)
                _settle_after(self.publisher.publish_to(self._routes.control, everyone), settle)
        elif envelope.kind == "response" or (self._answers_come_here and envelope.method == PROGRESS):
            self._take_answer(message, envelope, settle)
        elif envelope.expired() or key_of(envelope) in self._cancelled:
            settle(True)
        else:
            self._take(envelope, settle)

    def _take_answer(self, message: Any, envelope: Envelope, settle: Settle) -> None:
        """What a client answers, or reports on the way, that knows no other address than the request queue."""
        inbox = self._routes.inbox_of(envelope.message.get("id"))
        if inbox is not None:
            _settle_after(self.publisher.publish(inbox, envelope), settle)
        elif not self._answers_come_here or self._answered(envelope):
            settle(True)
        else:
            self._inbox.call_soon(partial(pass_on, message))

    def _on_cancel(self, key: Key) -> None:
        self._cancelled.add(key)
        self._cancel(key)


def _settle_after(done: Future[None], settle: Settle) -> None:
    """Acknowledge when `done` succeeded, or can never succeed; while the broker is away the message goes back."""

    def look(future: Future[None]) -> None:
        error = future.exception()
        if error is not None:
            logger.error("a message could not be passed on: %s", error)
        settle(not isinstance(error, BrokerUnreachable))

    done.add_done_callback(look)
