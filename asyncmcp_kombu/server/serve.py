"""serve: an MCP server for many clients over a queue, in one process, without Celery.

    await serve(server, "redis://localhost", name="notes")

Any number of processes may serve one name: each request is served by whichever takes it, acknowledged when its
answer is accepted by the broker, and served by another process if this one dies before.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread
from kombu.connection import Connection
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.jsonrpc_dispatcher import cancelled_request_id_from_params
from pydantic import SecretStr

from asyncmcp_kombu.broker import queues
from asyncmcp_kombu.broker.connection import connect, scheme_of
from asyncmcp_kombu.broker.inbox import Inbox
from asyncmcp_kombu.broker.publisher import Publisher
from asyncmcp_kombu.broker.threads import call_soon, wait_for
from asyncmcp_kombu.errors import EnvelopeError
from asyncmcp_kombu.server.admission import admit, refuse
from asyncmcp_kombu.server.dispatch import dispatch
from asyncmcp_kombu.server.requests import ServedRequest, settler
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.topology import Topology

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 100
"""Requests that are served at a time; more wait in the queue, for this process or another."""


async def serve(
    server: MCPServer[Any] | Server[Any],
    broker_url: str | None = None,
    name: str | None = None,
    *,
    settings: Settings | None = None,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. The server's lifespan is entered once, around everything.

    Args:
        server: an `MCPServer` or low-level `Server`.
        broker_url: default: ASYNCMCP_BROKER_URL.
        name: after which the queues are named; default: the server's own.
        settings: everything else; default: from the environment.
        task_status: `started()` is called once requests are taken.

    Cancelling ends what runs, gives its requests back to the queue, and takes less than a second beyond what
    handlers need to end.

    Raises:
        ConfigurationError: the URL's scheme or the name cannot be used.
        BrokerUnreachable: the broker cannot be reached at the start. Later it is connected to again.
    """
    chosen = settings or Settings()
    if broker_url is not None:
        chosen = chosen.model_copy(update={"broker_url": SecretStr(broker_url)})
    scheme_of(chosen.broker_url.get_secret_value())
    # mcp 2.3 has no public name for the low-level server inside an MCPServer.
    lowlevel: Server[Any] = server._lowlevel_server if isinstance(server, MCPServer) else server  # pyright: ignore[reportPrivateUsage]
    topology = Topology(name or lowlevel.name, chosen.prefix)
    async with lowlevel.lifespan(lowlevel) as state:
        await _Service(lowlevel, state, topology, chosen).run(task_status)


class _Service:
    """The inbox, the publisher, and the requests in between."""

    def __init__(self, server: Server[Any], state: Any, topology: Topology, settings: Settings) -> None:
        self._server, self._state, self._topology = server, state, topology
        self._max_bytes = settings.max_message_bytes

        def new_connection() -> Connection:
            return connect(settings.broker_url.get_secret_value(), settings)

        self._publisher = Publisher(
            new_connection, retry_for=settings.publish_retry, max_bytes=settings.max_message_bytes
        )
        self._into_loop, self._arrivals = anyio.create_memory_object_stream[Any](math.inf)
        self._soon = call_soon()
        self._inbox = Inbox(
            new_connection,
            queues.request_queue(topology),
            lambda message: self._soon(lambda: self._into_loop.send_nowait(message)),
            also=(queues.dead_queue(topology),),
            temporary=False,
            prefetch=MOST_AT_ONCE,
        )
        self._running: dict[Any, anyio.CancelScope] = {}

    async def run(self, task_status: anyio.abc.TaskStatus[None]) -> None:
        await anyio.to_thread.run_sync(self._inbox.start)
        try:
            async with anyio.create_task_group() as tasks:
                task_status.started()
                logger.info("MCP server %r takes requests from %s", self._topology.server, self._topology.requests)
                async for message in self._arrivals:
                    await self._take(message, tasks)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._inbox.close)
                await anyio.to_thread.run_sync(self._publisher.close)

    async def _take(self, message: Any, tasks: anyio.abc.TaskGroup) -> None:
        """One message from the request queue. Whatever is in it, the loop goes on."""
        settle = settler(message, self._inbox.call_soon)
        headers = message.headers or {}
        try:
            envelope = admit(message.body, headers, self._topology, self._max_bytes)
        except EnvelopeError as error:
            logger.warning("refused a message on %s: %s", self._topology.requests, error)
            tasks.start_soon(self._refuse, message, error)
            return
        if envelope.kind == "request" and not envelope.expired():
            tasks.start_soon(self._serve, ServedRequest(envelope, self._publisher, settle))
            return
        if envelope.method == "notifications/cancelled":
            request_id = cancelled_request_id_from_params(envelope.params)
            key = envelope.client_id, None if request_id is None else coerce_request_id(request_id)
            if key in self._running:
                self._running[key].cancel()
        settle(True)

    async def _serve(self, request: ServedRequest) -> None:
        done = False
        try:
            with anyio.CancelScope() as scope:
                self._running[request.key] = scope
                try:
                    answer = await dispatch(self._server, self._state, request.envelope, request.replies)
                finally:
                    self._running.pop(request.key, None)
                await request.answer(answer)
            done = True  # answered, or cancelled by its caller, who then gets no answer
        finally:
            request.settle(done)

    async def _refuse(self, message: Any, error: EnvelopeError) -> None:
        accepted = True
        try:
            await wait_for(refuse(message.body, message.headers or {}, error, self._topology, self._publisher))
        except Exception as problem:
            logger.error("a refused message could not be passed on, it goes back to the queue: %s", problem)
            accepted = False
        settler(message, self._inbox.call_soon)(accepted)
