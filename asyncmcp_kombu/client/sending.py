"""Sending: the stream into which the SDK writes; each message goes to the queue or exchange it belongs on."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from typing import Any

import anyio
from anyio.abc import AsyncResource
from mcp.shared.message import SessionMessage
from mcp_types.jsonrpc import JSONRPCNotification, JSONRPCRequest

from asyncmcp_kombu.broker.threads import wait_for
from asyncmcp_kombu.client.deadline import current_deadline
from asyncmcp_kombu.client.listening import Listening
from asyncmcp_kombu.client.mailbox import Mailbox
from asyncmcp_kombu.client.ordering import Ordering
from asyncmcp_kombu.client.session import Session
from asyncmcp_kombu.client.wire_ids import WireIds
from asyncmcp_kombu.envelope import Envelope, compose
from asyncmcp_kombu.errors import AsyncMcpError, MessageTooLarge

logger = logging.getLogger(__name__)


class QueueWriteStream(AsyncResource):
    """What the SDK writes to: `send` returns when the broker has accepted the message."""

    def __init__(
        self,
        mailbox: Mailbox,
        session: Session,
        listening: Listening,
        ordering: Ordering,
        wire_ids: WireIds | None = None,
    ) -> None:
        self._ordering, self._wire_ids = ordering, wire_ids
        self._mailbox, self.session, self._listening = mailbox, session, listening
        self._closed = False

    async def send(self, item: SessionMessage, /) -> None:
        """Raises MessageTooLarge, PublishError or BrokerUnreachable when a request was not accepted, ClientSuperseded
        when a newer process has opened the durable client.

        Nobody waits for a notification, nor for the acceptance of an answer: their trouble is logged, and an
        answer that is too large is replaced by an error that says so.
        """
        if self._closed:
            raise anyio.ClosedResourceError
        if self.session.ended is not None:
            raise self.session.ended
        message = item.message.model_dump(by_alias=True, exclude_unset=True, mode="json")
        if isinstance(item.message, JSONRPCRequest):
            await self._request(message)
            return
        try:
            await wait_for(
                self._notification(message) if isinstance(item.message, JSONRPCNotification) else self._answer(message)
            )
        except MessageTooLarge as error:
            logger.warning("a %s to the server was not sent: %s", message.get("method", "response"), error)
            if "method" not in message:
                data = error.error_data().model_dump(mode="json", exclude_none=True)
                await wait_for(self._answer({"jsonrpc": "2.0", "id": message.get("id"), "error": data}))
        except AsyncMcpError as error:
            logger.warning("a %s to the server was not sent: %s", message.get("method", "response"), error)

    async def _request(self, message: dict[str, Any]) -> None:
        self.session.sends(message)
        self._ordering.asked(message.get("id"))
        self._listening.sends(message)
        if self._listening.active:  # before the server says yes, so that no event is missed
            await wait_for(self._mailbox.listen(self.session.client_id))
        envelope = self._envelope(message, current_deadline())
        await wait_for(self._mailbox.send(self.session.queue_for(message), envelope))

    def _notification(self, message: dict[str, Any]) -> Future[None]:
        self._listening.sends(message)
        if message["method"] == "notifications/cancelled":
            if not self._listening.active:
                self._mailbox.stop_listening(self.session.client_id)
            return self._mailbox.tell_everyone(self._envelope(message))
        return self._mailbox.send(self.session.queue_for(message), self._envelope(message))

    def _answer(self, message: dict[str, Any]) -> Future[None]:
        return self._mailbox.send(self.session.queue_for(message), self._envelope(message))

    def _envelope(self, message: dict[str, Any], expires_at: float | None = None) -> Envelope:
        return compose(
            message if self._wire_ids is None else self._wire_ids.outgoing(message),
            client_id=self.session.client_id,
            session_id=self.session.session_id,
            reply_to=self._mailbox.reply_to,
            expires_at=expires_at,
            protocol_version=self.session.version_of(message),
        )

    async def aclose(self) -> None:
        self._closed = True
