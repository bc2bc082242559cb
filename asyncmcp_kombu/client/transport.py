"""kombu_client: an `mcp` client transport that talks to a server through a queue.

async with Client(kombu_client("sqs://", server="workers")) as client:
    result = await client.call_tool("add", {"a": 1, "b": 2})
"""

from __future__ import annotations

import math
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectSendStream
from mcp.client._transport import TransportStreams
from mcp.shared.message import SessionMessage
from pydantic import SecretStr

from asyncmcp_kombu.broker.connection import scheme_of
from asyncmcp_kombu.broker.threads import call_soon
from asyncmcp_kombu.client.arriving import Arriving
from asyncmcp_kombu.client.dialect import Plain
from asyncmcp_kombu.client.listening import Listening
from asyncmcp_kombu.client.mailbox import Mailbox, close_mailbox, open_mailbox
from asyncmcp_kombu.client.ordering import Ordering
from asyncmcp_kombu.client.sending import QueueWriteStream
from asyncmcp_kombu.client.session import Session
from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.topology import Topology, new_client_id


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
    mailbox = await opened(lambda: open_mailbox(settings, topology), close_mailbox)
    try:
        async with stream_pair(mailbox, Session(new_client_id(), topology)) as streams:
            yield streams
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(close_mailbox, mailbox)


@asynccontextmanager
async def stream_pair(
    mailbox: Mailbox, session: Session, dialect: Plain | None = None, timeout: float = math.inf
) -> AsyncGenerator[TransportStreams]:
    """The streams of one session over an open mailbox; after `timeout` seconds they end."""
    dialect, listening, ordering = dialect or Plain(), Listening(), Ordering()
    into_session, read = anyio.create_memory_object_stream[SessionMessage | Exception](math.inf)
    deliver, arrivals = anyio.create_memory_object_stream[Envelope](math.inf)
    soon = call_soon()
    write = QueueWriteStream(mailbox, session, listening, ordering, dialect)
    try:
        mailbox.join(session.client_id, lambda envelope: soon(lambda: _hand_over(deliver, envelope)))
        async with deliver, read, anyio.create_task_group() as tasks:
            tasks.start_soon(Arriving(mailbox, session, listening, arrivals, into_session, ordering, dialect).run)
            if timeout < math.inf:
                tasks.start_soon(_end_after, timeout, write, into_session)
            try:
                yield read, write
            finally:
                tasks.cancel_scope.cancel()
    finally:
        mailbox.leave(session.client_id)


async def _end_after(
    seconds: float, write: QueueWriteStream, into_session: MemoryObjectSendStream[SessionMessage | Exception]
) -> None:
    await anyio.sleep(seconds)
    await write.aclose()
    into_session.close()


async def opened(open_it: Callable[[], Mailbox], close_it: Callable[[Mailbox], None]) -> Mailbox:
    """The mailbox, opened in a thread; when this is cancelled meanwhile, the thread closes it again."""
    found: list[Mailbox] = []
    abandoned, settled = threading.Event(), threading.Lock()

    def work() -> None:
        mailbox = open_it()
        with settled:
            found.append(mailbox)
            if not abandoned.is_set():
                return
        close_it(mailbox)

    try:
        await anyio.to_thread.run_sync(work)
    except BaseException:
        with settled:
            abandoned.set()
            finished = list(found)
        for mailbox in finished:
            close_it(mailbox)
        raise
    return found[0]


def _hand_over(deliver: MemoryObjectSendStream[Envelope], envelope: Envelope) -> None:
    try:
        deliver.send_nowait(envelope)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return  # the session has ended
