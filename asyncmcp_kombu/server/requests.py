"""The requests that one process is serving: each settled on the broker only when it is answered."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from mcp_types.jsonrpc import ErrorData

from asyncmcp_kombu.broker.publisher import Publisher
from asyncmcp_kombu.broker.threads import wait_for
from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.errors import BrokerUnreachable, MessageTooLarge, PublishError, ReplyTooLarge
from asyncmcp_kombu.server.replies import Replies
from asyncmcp_kombu.server.serving import Answer

logger = logging.getLogger(__name__)

Settle = Callable[[bool], None]
"""Settles the broker's message: True acknowledges it, False gives it back to the queue."""


class ServedRequest:
    """One request, its way back, and the message that it came in. Used in the event loop only."""

    def __init__(self, envelope: Envelope, publisher: Publisher, settle: Settle) -> None:
        self.envelope = envelope
        self.replies = Replies(envelope, publisher.publish)
        self._settle: Settle | None = settle

    async def answer(self, answer: Answer) -> None:
        """Send the answer and settle: acknowledged when it is accepted, given back when the broker is away."""
        done = False
        try:
            if answer is not None:
                await self._answer(answer)
            done = True
        except BrokerUnreachable as error:
            logger.error("an answer could not be sent, its request goes back to the queue: %s", error)
        except PublishError as error:
            logger.info("nobody takes the answer of %s: %s", self.envelope.method, error)
            done = True
        finally:
            self.settle(done)

    async def _answer(self, answer: dict[str, Any] | ErrorData) -> None:
        try:
            await wait_for(self._send(answer))
        except MessageTooLarge as error:
            told = ReplyTooLarge(f"the request was served, but its answer cannot be sent: {error}")
            await wait_for(self._send(told.error_data()))

    def settle(self, accepted: bool = True) -> None:
        """Settle without an answer, as for a cancelled request. Does nothing the second time."""
        settle, self._settle = self._settle, None
        if settle is not None:
            settle(accepted)

    def _send(self, answer: dict[str, Any] | ErrorData) -> Future[None]:
        return self.replies.error(answer) if isinstance(answer, ErrorData) else self.replies.result(answer)


def settler(message: Any, later: Callable[[Callable[[], None]], None]) -> Settle:
    """Settles a kombu message in the thread that consumes it, to which `later` hands calls."""

    def settle(accepted: bool) -> None:
        later(message.ack if accepted else message.requeue)

    return settle
