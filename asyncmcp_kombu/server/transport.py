"""kombu_server: a stream pair over a queue, for the SDK's `server.run(read, write, ...)`. Never imports Celery.

async with kombu_server("redis://localhost", name="notes") as (read, write):
    await server.run(read, write, server.create_initialization_options())
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from kombu.connection import Connection
from mcp.shared.message import SessionMessage

from asyncmcp_kombu.broker.connection import chosen_settings, connector
from asyncmcp_kombu.server.switchboard import Switchboard
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.topology import Routes, Topology

Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], Switchboard]


def kombu_server(
    broker_url: str | None = None, *, name: str | None = None, settings: Settings | None = None
) -> AbstractAsyncContextManager[Streams]:
    """Read and write streams as the SDK's own server transports give, over the request queue of that name.

    Args:
        broker_url: default: ASYNCMCP_BROKER_URL.
        name: after which the queues are named; default: ASYNCMCP_SERVER, or `workers`.
        settings: everything else; default: from the environment.

    The pair is one MCP connection that many clients share: each is answered on its own reply queue, and their
    request ids, progress tokens and cancellations are kept apart. Being one connection it carries one protocol
    era, that of its first request, and one handshake; for clients of both eras, each with its own, use `serve`.

    Exiting gives what was not answered back to the queue and takes less than a second.

    Raises:
        ConfigurationError: the URL's scheme or the name cannot be used (at once).
        BrokerUnreachable: the broker cannot be reached (on entering). Later it is connected to again.
    """
    chosen = chosen_settings(settings, broker_url)
    return _connected(chosen, Topology(name or chosen.server, chosen.prefix))


@asynccontextmanager
async def _connected(settings: Settings, topology: Topology) -> AsyncGenerator[Streams]:
    async with stream_pair(topology, settings, connector(settings)) as streams:
        yield streams


@asynccontextmanager
async def stream_pair(
    routes: Routes,
    settings: Settings,
    connect: Callable[[], Connection],
    attributes: Mapping[str, str] | None = None,
    timeout: float = math.inf,
) -> AsyncGenerator[Streams]:
    """A stream pair over the routes; after `timeout` seconds nothing more is read, and the server ends."""
    into_server, read = anyio.create_memory_object_stream[SessionMessage | Exception](math.inf)
    switchboard = Switchboard(routes, settings, connect, into_server, attributes)
    async with into_server, read, switchboard.reception as reception, anyio.create_task_group() as tasks:
        tasks.start_soon(reception.run)
        if timeout < math.inf:
            tasks.start_soon(_end_after, timeout, into_server)
        try:
            yield read, switchboard
        finally:
            await switchboard.give_back()
            tasks.cancel_scope.cancel()


async def _end_after(seconds: float, into_server: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
    await anyio.sleep(seconds)
    into_server.close()
