"""kombu_client: an `mcp` client transport that talks to a server through a queue.

async with Client(kombu_client("sqs://", server="workers")) as client:
    result = await client.call_tool("add", {"a": 1, "b": 2})
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client._transport import TransportStreams
from mcp.shared.message import SessionMessage
from mcp_types import PROTOCOL_VERSION_META_KEY
from mcp_types.jsonrpc import JSONRPCRequest, jsonrpc_message_adapter
from pydantic import SecretStr, ValidationError

from asyncmcp_kombu.broker.connection import scheme_of
from asyncmcp_kombu.broker.threads import call_soon, wait_for
from asyncmcp_kombu.client.deadline import current_deadline
from asyncmcp_kombu.client.mailbox import Mailbox, close_mailbox, open_mailbox
from asyncmcp_kombu.client.ordering import Ordering
from asyncmcp_kombu.envelope import Envelope, compose
from asyncmcp_kombu.errors import EnvelopeError
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.topology import Topology, new_client_id

Arrivals = MemoryObjectReceiveStream[Envelope]
ReadStream = MemoryObjectSendStream[SessionMessage | Exception]


def kombu_client(
    broker_url: str | None = None, *, server: str | None = None, settings: Settings | None = None
) -> AbstractAsyncContextManager[TransportStreams]:
    """A transport for `mcp.Client` (or `ClientSession`) to the server of that name.

    Args:
        broker_url: `sqs://…`, `amqp://…`, `redis://…` or `memory://`; default: ASYNCMCP_BROKER_URL.
        server: the server's name, after which its queues are named; default: ASYNCMCP_SERVER, or `workers`.
        settings: everything else; default: from the environment.

    Entering creates the request queue and a temporary reply queue where they are missing. Exiting deletes the
    reply queue with the last session of the process that uses it, takes less than a second, and leaves no
    thread. A request that is cancelled while it is sent may still be carried out.

    Raises:
        ConfigurationError: the URL's scheme or a name cannot be used (at once).
        BrokerUnreachable: the broker cannot be reached (on entering, and from any later send).
        MessageTooLarge, PublishError: from the call whose message was refused.
    """
    chosen = settings or Settings()
    update: dict[str, Any] = {}
    if broker_url is not None:
        update["broker_url"] = SecretStr(broker_url)
    if server is not None:
        update["server"] = server
    chosen = chosen.model_copy(update=update)
    scheme_of(chosen.broker_url.get_secret_value())
    return _connected(chosen, Topology(chosen.server, chosen.prefix))


@asynccontextmanager
async def _connected(settings: Settings, topology: Topology) -> AsyncGenerator[TransportStreams]:
    client_id = new_client_id()
    into_session, read = anyio.create_memory_object_stream[SessionMessage | Exception](math.inf)
    deliver, arrivals = anyio.create_memory_object_stream[Envelope](math.inf)
    soon = call_soon()
    mailbox = await _open(settings, topology)
    try:
        mailbox.join(client_id, lambda envelope: soon(lambda: _hand_over(deliver, envelope)))
        async with deliver, read, anyio.create_task_group() as tasks:
            tasks.start_soon(_forward, arrivals, into_session)
            try:
                yield read, QueueWriteStream(mailbox, client_id)
            finally:
                tasks.cancel_scope.cancel()
    finally:
        mailbox.leave(client_id)
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(close_mailbox, mailbox)


async def _open(settings: Settings, topology: Topology) -> Mailbox:
    """The mailbox, opened in a thread; when this is cancelled meanwhile, the thread closes it again."""
    opened: list[Mailbox] = []
    abandoned, settled = threading.Event(), threading.Lock()

    def work() -> None:
        mailbox = open_mailbox(settings, topology)
        with settled:
            opened.append(mailbox)
            if not abandoned.is_set():
                return
        close_mailbox(mailbox)

    try:
        await anyio.to_thread.run_sync(work)
    except BaseException:
        with settled:
            abandoned.set()
            finished = list(opened)
        for mailbox in finished:
            close_mailbox(mailbox)
        raise
    return opened[0]


def _hand_over(deliver: MemoryObjectSendStream[Envelope], envelope: Envelope) -> None:
    try:
        deliver.send_nowait(envelope)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return  # the session has ended


async def _forward(arrivals: Arrivals, into_session: ReadStream) -> None:
    """From the mailbox into the session, in order."""
    ordering = Ordering()
    async with arrivals, into_session:
        while True:
            deadline = ordering.next_deadline()
            patience = math.inf if deadline is None else max(0.0, deadline - time.monotonic())
            ready: list[Envelope] = []
            with anyio.move_on_after(patience):
                ready = ordering.accept(await arrivals.receive())
            for envelope in ready or ordering.overdue():
                await into_session.send(_to_session(envelope))


def _to_session(envelope: Envelope) -> SessionMessage | Exception:
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_python(envelope.message, by_name=False))
    except ValidationError as error:
        return EnvelopeError(f"the server sent a message that is not JSON-RPC: {error}")


class QueueWriteStream:
    """The stream into which the SDK writes: `send` returns when the broker has accepted the message."""

    def __init__(self, mailbox: Mailbox, client_id: str) -> None:
        self._mailbox, self._client_id = mailbox, client_id
        self._closed = False

    async def send(self, item: SessionMessage, /) -> None:
        """Raises MessageTooLarge, PublishError or BrokerUnreachable when the message was not accepted."""
        if self._closed:
            raise anyio.ClosedResourceError
        message = item.message.model_dump(by_alias=True, exclude_unset=True, mode="json")
        is_request = isinstance(item.message, JSONRPCRequest)
        await wait_for(
            self._mailbox.send(
                compose(
                    message,
                    client_id=self._client_id,
                    reply_to=self._mailbox.reply_to,
                    expires_at=current_deadline() if is_request else None,
                    protocol_version=_protocol_version(message),
                )
            )
        )

    async def aclose(self) -> None:
        self._closed = True

    async def __aenter__(self) -> QueueWriteStream:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()


def _protocol_version(message: dict[str, Any]) -> str | None:
    version = ((message.get("params") or {}).get("_meta") or {}).get(PROTOCOL_VERSION_META_KEY)
    return version if isinstance(version, str) else None
