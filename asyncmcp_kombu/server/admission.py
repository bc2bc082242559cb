"""Admission: which messages of the request queue are served, and who is told about the others.

The request queue is open to every client. What is not one proper JSON-RPC message with an allowed reply address
is refused: its sender is told where it left such an address, else the message is kept as a dead letter.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from asyncmcp_kombu.broker.publisher import Publisher
from asyncmcp_kombu.broker.threads import finished
from asyncmcp_kombu.envelope import Envelope, parse
from asyncmcp_kombu.errors import EnvelopeError, TooManyReceives
from asyncmcp_kombu.server.dead_letters import bury
from asyncmcp_kombu.server.replies import Replies
from asyncmcp_kombu.server.return_address import addressed, return_route
from asyncmcp_kombu.server.sessions import Sessions
from asyncmcp_kombu.topology import Routes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Admission:
    """What decides for one server. `max_bytes` is the largest body."""

    routes: Routes
    sessions: Sessions
    max_bytes: int

    def admit(self, message: Any) -> Envelope:
        """The envelope in a Kombu message from the request queue, with the route of its answer as `reply_to`.

        Raises:
            EnvelopeError: it is refused; the text says why.
        """
        envelope = parse(message.body, message.headers or {}, max_bytes=self.max_bytes)
        return addressed(envelope, self.routes, self.sessions, _queue_url(message))

    def refuse(self, message: Any, error: EnvelopeError, publisher: Publisher) -> Future[None]:
        """Tell the sender, or keep the message, or both when it was received too often; done when that is accepted."""
        headers: Mapping[str, Any] = message.headers or {}
        route = return_route(headers, self.routes, self.sessions, _queue_url(message))
        if route is not None:
            request_id = error.request_id
            if request_id is None and "Method" in headers:  # of the sender's, and not of what it answers
                request_id = headers.get("RequestId")
            sender = Envelope(
                body=b"",
                message={"id": request_id},
                timestamp=0.0,
                client_id=headers.get("ClientId"),
                reply_to=route,
            )
            told = Replies(sender, publisher.publish).error(error.error_data())
            if not isinstance(error, TooManyReceives):
                return told
        if self.routes.dead is None:
            logger.error("dropped a message on %s that nobody can be told about: %s", self.routes.requests, error)
            return finished()
        return bury(message.body, headers, error.reason, self.routes.dead, publisher, self.max_bytes)


def _queue_url(message: Any) -> str | None:
    return (message.delivery_info or {}).get("queue_url")
