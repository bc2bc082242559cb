"""kombu_audience: hear what a client with replies by fan-out is sent, as a standby or for an audit.

async with kombu_audience("sqs://", server="workers", client_id="billing-9f3c…") as messages:
    async for message in messages:
        print(message.request_id, message.message)
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp_types import RequestId
from mcp_types.jsonrpc import JSONRPCMessage, jsonrpc_message_adapter
from pydantic import ValidationError

from asyncmcp_kombu.broker import queues
from asyncmcp_kombu.broker.connection import chosen_settings, connector
from asyncmcp_kombu.broker.exchanges import Binding
from asyncmcp_kombu.broker.inbox import Inbox
from asyncmcp_kombu.broker.threads import call_soon
from asyncmcp_kombu.client.address import check_client_id
from asyncmcp_kombu.client.wire_ids import read_wire_id
from asyncmcp_kombu.envelope import parse
from asyncmcp_kombu.errors import EnvelopeError
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.topology import Topology, new_client_id

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceMessage:
    """One message that the server sent to the client.

    Attributes:
        message: the SDK's JSONRPCResponse, JSONRPCError, JSONRPCNotification (progress, log) or JSONRPCRequest.
        request_id: the client's request that it belongs to, as it is called on the wire; None when to none.
        key: what the caller named that request (`_meta`, `io.asyncmcp/requestId`), where he did.
        sequence: 0, 1, 2, … for one request; the response is the last. SNS may bring them in another order, or twice.
        sent_at: epoch seconds.
    """

    message: JSONRPCMessage = field(repr=False)
    request_id: RequestId | None
    key: str | None
    sequence: int | None
    sent_at: float


class Audience:
    """The messages, from the moment of entering `kombu_audience`, without end until it is exited.

    A message counts as taken when the next one is asked for: one that was being worked on when a process died comes
    again to the next one of that name. Iterate in one task.
    """

    def __init__(self, inbox: Inbox, arrivals: MemoryObjectReceiveStream[tuple[AudienceMessage, Any]]) -> None:
        self._inbox, self._arrivals = inbox, arrivals
        self._last: Any = None

    def __aiter__(self) -> Audience:
        return self

    async def __anext__(self) -> AudienceMessage:
        if self._last is not None:
            self._inbox.call_soon(self._last.ack)
            self._last = None
        try:
            item, self._last = await self._arrivals.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            raise StopAsyncIteration from None
        return item


def kombu_audience(
    broker_url: str | None = None,
    *,
    client_id: str,
    server: str | None = None,
    name: str | None = None,
    settings: Settings | None = None,
) -> AbstractAsyncContextManager[Audience]:
    """Everything that the server sends to a client of that id which asked for `replies="fanout"`.

    Args:
        broker_url: default: ASYNCMCP_BROKER_URL.
        client_id: the client's; what is sent to others is not heard.
        server: the server's name; default: ASYNCMCP_SERVER, or `workers`.
        name: makes the queue durable: what is sent while nobody of that name listens waits for the next one (14 days;
            ASYNCMCP_DURABLE_RETENTION), and several of one name share the messages. Default: a temporary queue.
        settings: everything else; default: from the environment.

    Entering returns when the queue is bound: what is published from then on is heard. Exiting deletes a temporary
    queue, takes less than a second, and ends the iteration. Cancelling an iteration loses nothing.

    Raises:
        ConfigurationError: the URL's scheme, a name or the id cannot be used (at once).
        BrokerUnreachable: the broker cannot be reached (on entering; later it is connected to again).
        BrokerError: the broker refuses the binding (on entering).
    """
    chosen = chosen_settings(settings, broker_url, server)
    check_client_id(client_id)
    topology = Topology(chosen.server, chosen.prefix)
    if name is None:
        queue = queues.reply_queue(topology.reply(new_client_id()))
    else:
        queue = queues.durable_reply_queue(topology.durable_audience(name), chosen.durable_retention)
    return _listening(chosen, queue, Binding(topology.events, client_id), temporary=name is None)


@asynccontextmanager
async def _listening(settings: Settings, queue: Any, binding: Binding, *, temporary: bool) -> AsyncGenerator[Audience]:
    into, arrivals = anyio.create_memory_object_stream[tuple[AudienceMessage, Any]](math.inf)
    soon = call_soon()

    def on_message(message: Any) -> None:
        try:
            item = _read(message, settings.max_message_bytes)
        except (EnvelopeError, ValidationError) as error:
            logger.warning("dropped a message on %s: %s", queue.name, error)
            message.ack()
        else:
            soon(lambda: _hand_over(into, (item, message)))

    inbox = Inbox(connector(settings), queue, on_message, temporary=temporary, bindings=(binding,))
    try:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(inbox.start)
        async with into, arrivals:
            yield Audience(inbox, arrivals)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(inbox.close)


def _hand_over(into: MemoryObjectSendStream[tuple[AudienceMessage, Any]], item: tuple[AudienceMessage, Any]) -> None:
    try:
        into.send_nowait(item)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return  # it goes back to the queue with its consumer


def _read(message: Any, max_bytes: int) -> AudienceMessage:
    envelope = parse(message.body, message.headers or {}, max_bytes=max_bytes)
    request_id = envelope.belongs_to
    wire_id = read_wire_id(request_id)
    return AudienceMessage(
        message=jsonrpc_message_adapter.validate_python(envelope.message, by_name=False),
        request_id=request_id,
        key=None if wire_id is None else wire_id.key,
        sequence=envelope.sequence,
        sent_at=envelope.timestamp,
    )
