"""kombu_client: an `mcp` client transport that talks to a server through a queue.

async with Client(kombu_client("sqs://", server="workers")) as client:
    result = await client.call_tool("add", {"a": 1, "b": 2})
"""

from __future__ import annotations

import math
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from types import TracebackType

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client._transport import TransportStreams
from mcp.shared.message import SessionMessage

from asyncmcp_kombu.broker.connection import chosen_settings
from asyncmcp_kombu.broker.threads import call_soon
from asyncmcp_kombu.client.address import Address, RepliesBy, check_client_id, own_address
from asyncmcp_kombu.client.arriving import Arriving
from asyncmcp_kombu.client.earlier import EarlierAnswers, announcement
from asyncmcp_kombu.client.listening import Listening
from asyncmcp_kombu.client.mailbox import Mailbox, close_mailbox, open_mailbox
from asyncmcp_kombu.client.ordering import Ordering
from asyncmcp_kombu.client.own_mailbox import OwnMailbox
from asyncmcp_kombu.client.sending import QueueWriteStream
from asyncmcp_kombu.client.session import Session
from asyncmcp_kombu.client.wire_ids import WireIds
from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.errors import BrokerUnreachable, ClientSuperseded, ConfigurationError
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.topology import Topology, new_client_id


def kombu_client(
    broker_url: str | None = None,
    *,
    server: str | None = None,
    client_id: str | None = None,
    durable: bool = False,
    replies: RepliesBy = "queue",
    settings: Settings | None = None,
) -> KombuTransport:
    """A transport for `mcp.Client` (or `ClientSession`) to the server of that name.

    Args:
        broker_url: `sqs://…`, `amqp://…`, `redis://…` or `memory://`; default: ASYNCMCP_BROKER_URL.
        server: the server's name, after which its queues are named; default: ASYNCMCP_SERVER, or `workers`.
        client_id: who this client is, to those who share its results and when it comes back; at most 64 letters,
            digits, `-` and `_`. Default: a fresh unguessable one. See docs/durable-clients.md on choosing one.
        durable: keep the reply queue when the client ends or dies, so that answers wait there until it comes back.
            Needs a `client_id`, under which one process at a time may be connected: a newer one takes over.
        replies: `queue` (the client's own reply queue) or `fanout` (the server's fan-out exchange, where others may
            hear them, too: `kombu_audience`).
        settings: everything else; default: from the environment.

    Entering creates the request queue and the reply queue where they are missing. Exiting deletes a reply queue
    that is not durable with the last session of the process that uses it, takes less than a second, and leaves no
    thread. A request that is cancelled while it is sent may still be carried out. A transport can be entered once.

    Raises:
        ConfigurationError: the URL's scheme, a name or an id cannot be used, or `durable` stands without an id (at
            once).
        BrokerUnreachable: the broker cannot be reached (on entering, and from any later send).
        MessageTooLarge, PublishError: from the call whose message was refused.
        ClientSuperseded: a newer process has opened this durable client (from its calls, open and later).
    """
    chosen = chosen_settings(settings, broker_url, server)
    topology = Topology(chosen.server, chosen.prefix)
    if replies not in ("queue", "fanout"):
        raise ConfigurationError(f"replies={replies!r}: 'queue' or 'fanout' is expected")
    if durable and client_id is None:
        raise ConfigurationError("durable=True needs a client_id: the name by which the client finds its queue again")
    if client_id is not None:
        check_client_id(client_id)
    identity = new_client_id() if client_id is None else client_id
    own = client_id is not None or replies == "fanout"
    address = own_address(topology, chosen, identity, durable=durable, replies=replies) if own else None
    return KombuTransport(chosen, topology, identity, address, named=client_id is not None)


class KombuTransport(AbstractAsyncContextManager[TransportStreams]):
    """What `kombu_client` gives: enter it, or let `mcp.Client` do so.

    Attributes:
        client_id: as given, or as generated.
    """

    def __init__(
        self,
        settings: Settings,
        topology: Topology,
        client_id: str,
        address: Address | None,
        *,
        named: bool,
    ) -> None:
        self.client_id = client_id
        self._settings, self._topology, self._address, self._named = settings, topology, address, named
        self._earlier: EarlierAnswers | None = None
        if address is not None and address.durable:
            self._earlier = EarlierAnswers((settings.broker_url.get_secret_value(), address.queue.name))
        self._connection = self._connected()

    @property
    def answers(self) -> EarlierAnswers:
        """Answers to requests of this durable client's former processes.

        Raises:
            ConfigurationError: the client is not durable, so that none wait.
        """
        if self._earlier is None:
            raise ConfigurationError("answers wait for a client with client_id=… and durable=True only")
        return self._earlier

    async def __aenter__(self) -> TransportStreams:
        return await self._connection.__aenter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool | None:
        return await self._connection.__aexit__(exc_type, exc_val, exc_tb)

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[TransportStreams]:
        earlier, wire_ids, announce = self._earlier, WireIds() if self._named else None, None
        arrivals = anyio.create_memory_object_stream[Envelope | ClientSuperseded](math.inf)
        if earlier is not None and wire_ids is not None:
            earlier.open(wire_ids.incarnation, call_soon(), partial(_hand_over, arrivals[0]))
            announce = announcement(self.client_id, wire_ids.incarnation)
        try:
            mailbox = await opened(partial(self._open_mailbox, announce), close_mailbox)
        except BaseException:
            if earlier is not None:
                earlier.close(BrokerUnreachable("the durable client could not be connected"))
            raise
        try:
            if earlier is not None:
                earlier.take_over()
            session = Session(self.client_id, self._topology)
            async with stream_pair(mailbox, session, wire_ids, arrivals=arrivals) as streams:
                yield streams
        finally:
            if earlier is not None:
                earlier.close(BrokerUnreachable("the durable client is not connected any more"))
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(close_mailbox, mailbox)

    def _open_mailbox(self, announce: Envelope | None) -> Mailbox:
        if self._address is None:
            return open_mailbox(self._settings, self._topology)
        mailbox = OwnMailbox(self._settings, self._topology, self.client_id, self._address, self._earlier)
        try:
            mailbox.open(announce)
        except BaseException:
            mailbox.close()
            raise
        return mailbox


Arrivals = tuple[
    MemoryObjectSendStream[Envelope | ClientSuperseded], MemoryObjectReceiveStream[Envelope | ClientSuperseded]
]
"""What comes for a session, on its way from the mailbox's thread into the event loop."""


@asynccontextmanager
async def stream_pair(
    mailbox: Mailbox,
    session: Session,
    wire_ids: WireIds | None = None,
    *,
    arrivals: Arrivals | None = None,
    timeout: float = math.inf,
) -> AsyncGenerator[TransportStreams]:
    """The streams of one session over an open mailbox; after `timeout` seconds they end."""
    listening, ordering = Listening(), Ordering()
    into_session, read = anyio.create_memory_object_stream[SessionMessage | Exception](math.inf)
    deliver, arriving = arrivals or anyio.create_memory_object_stream[Envelope | ClientSuperseded](math.inf)
    soon = call_soon()
    write = QueueWriteStream(mailbox, session, listening, ordering, wire_ids)
    run = Arriving(mailbox, session, listening, arriving, into_session, ordering, wire_ids).run
    try:
        mailbox.join(session.client_id, lambda envelope: soon(lambda: _hand_over(deliver, envelope)))
        async with deliver, read, anyio.create_task_group() as tasks:
            tasks.start_soon(run)
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


def _hand_over(
    deliver: MemoryObjectSendStream[Envelope | ClientSuperseded], arrived: Envelope | ClientSuperseded
) -> None:
    try:
        deliver.send_nowait(arrived)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return  # the session has ended
