"""Arriving: what the mailbox has for a session, put in order and handed to the SDK."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import Any

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp_types.jsonrpc import JSONRPCError, jsonrpc_message_adapter
from pydantic import ValidationError

from asyncmcp_kombu.broker.threads import wait_for
from asyncmcp_kombu.client.listening import Listening
from asyncmcp_kombu.client.mailbox import Mailbox
from asyncmcp_kombu.client.ordering import Ordering
from asyncmcp_kombu.client.session import Session
from asyncmcp_kombu.client.wire_ids import WireIds
from asyncmcp_kombu.envelope import CLOSE_STREAM, Envelope
from asyncmcp_kombu.errors import BrokerError, ClientSuperseded, EnvelopeError
from asyncmcp_kombu.topology import EVERYONE


class Arriving:
    """From the mailbox into the session, until cancelled."""

    def __init__(
        self,
        mailbox: Mailbox,
        session: Session,
        listening: Listening,
        arrivals: MemoryObjectReceiveStream[Envelope | ClientSuperseded],
        into_session: MemoryObjectSendStream[SessionMessage | Exception],
        ordering: Ordering,
        wire_ids: WireIds | None = None,
    ) -> None:
        self._ordering, self._wire_ids = ordering, wire_ids
        self._mailbox, self._session, self._listening = mailbox, session, listening
        self._arrivals, self._into_session = arrivals, into_session

    async def run(self) -> None:
        # What arrives when the session has ended, as a notification may, is nobody's.
        with suppress(anyio.BrokenResourceError):
            await self._run()

    async def _run(self) -> None:
        ordering = self._ordering
        async with self._arrivals, self._into_session:
            while True:
                deadline = ordering.next_deadline()
                patience = math.inf if deadline is None else max(0.0, deadline - time.monotonic())
                arrived: Envelope | ClientSuperseded | None = None
                with anyio.move_on_after(patience):
                    arrived = await self._arrivals.receive()
                if isinstance(arrived, ClientSuperseded):
                    await self._end(arrived)
                    return
                if arrived is not None and arrived.audience == EVERYONE:
                    await self._pass_on_event(arrived)
                    continue
                if arrived is not None and self._wire_ids is not None:
                    arrived = self._wire_ids.incoming(arrived)
                    if arrived is None:  # about a request of another process, or one that is over
                        continue
                for envelope in (arrived and ordering.accept(arrived)) or ordering.overdue():
                    await self._pass_on(envelope)

    async def _end(self, error: ClientSuperseded) -> None:
        """The session is over: each open request fails with the reason, later ones are refused."""
        self._session.ended = error
        await anyio.to_thread.run_sync(self._mailbox.close)  # before anybody acts upon it
        unanswered = [] if self._wire_ids is None else self._wire_ids.unanswered()
        for request_id in unanswered:
            failed = JSONRPCError(jsonrpc="2.0", id=request_id, error=error.error_data())
            await self._into_session.send(SessionMessage(failed))

    async def _pass_on(self, envelope: Envelope) -> None:
        if envelope.method == CLOSE_STREAM:
            if self._session.on_close_stream is not None and envelope.belongs_to is not None:
                self._session.on_close_stream(coerce_request_id(envelope.belongs_to))
            return
        self._session.receives(envelope)
        follows = self._listening.receives(envelope)
        if self._listening.active:  # an answer to `initialize` may promise what is heard there
            try:
                await wait_for(self._mailbox.listen(self._session.client_id))
            except BrokerError as error:
                await self._into_session.send(error)
        await self._into_session.send(_to_session(envelope))
        for message in follows:
            await self._send(message)

    async def _pass_on_event(self, envelope: Envelope) -> None:
        for message in self._listening.hears(envelope):
            await self._send(message)

    async def _send(self, message: dict[str, Any]) -> None:
        await self._into_session.send(SessionMessage(jsonrpc_message_adapter.validate_python(message)))


def _to_session(envelope: Envelope) -> SessionMessage | Exception:
    try:
        message = jsonrpc_message_adapter.validate_python(envelope.message, by_name=False)
    except ValidationError as error:
        return EnvelopeError(f"the server sent a message that is not JSON-RPC: {error}")
    related = None if envelope.kind == "response" else envelope.belongs_to
    if related is None:
        return SessionMessage(message)
    return SessionMessage(message, ServerMessageMetadata(related_request_id=coerce_request_id(related)))
