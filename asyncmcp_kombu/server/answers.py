"""Answers: the inbox of one process for what clients answer to its requests, opened when it is first needed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
from kombu.connection import Connection

from asyncmcp_kombu.broker import queues
from asyncmcp_kombu.broker.inbox import Inbox
from asyncmcp_kombu.broker.threads import CallSoon, call_soon
from asyncmcp_kombu.envelope import Envelope, parse
from asyncmcp_kombu.errors import EnvelopeError
from asyncmcp_kombu.topology import Routes

logger = logging.getLogger(__name__)


class Answers:
    """Used in one event loop; `close` from any thread.

    Args:
        on_answer: called in the event loop with what arrives: responses, and progress on the way to them.
    """

    def __init__(
        self,
        routes: Routes,
        connect: Callable[[], Connection],
        on_answer: Callable[[Envelope], object],
        max_bytes: int,
    ) -> None:
        self._address = routes.new_inbox()
        self._connect, self._on_answer, self._max_bytes = connect, on_answer, max_bytes
        self._inbox: Inbox | None = None
        self._opening: anyio.Lock | None = None
        self._soon: CallSoon | None = None

    async def address(self) -> str | None:
        """What goes out as `ReplyTo`; None when clients answer by way of the request queue.

        Raises BrokerUnreachable when the inbox cannot be opened.
        """
        if self._address is None:
            return None
        self._opening = self._opening or anyio.Lock()
        async with self._opening:
            if self._inbox is None:
                self._soon = call_soon()
                inbox = Inbox(self._connect, queues.reply_queue(self._address), self._on_message)
                await anyio.to_thread.run_sync(inbox.start)
                self._inbox = inbox
        return self._address

    def close(self) -> None:
        """Delete the inbox. Takes less than a second; blocks meanwhile."""
        if self._inbox is not None:
            self._inbox.close()

    def _on_message(self, message: Any) -> None:
        try:
            envelope = parse(message.body, message.headers or {}, max_bytes=self._max_bytes)
        except EnvelopeError as error:
            logger.warning("dropped a client's answer that cannot be read: %s", error)
        else:
            assert self._soon is not None
            self._soon(partial(self._on_answer, envelope))
        message.ack()
