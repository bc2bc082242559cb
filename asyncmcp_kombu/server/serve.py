"""serve: an MCP server for many clients over a queue, in one process, without Celery.

    await serve(server, "redis://localhost", name="notes")

Any number of processes may serve one name: each request is served by whichever takes it, acknowledged when its
answer is accepted by the broker, and served by another process if this one dies before.
"""

from __future__ import annotations

import anyio
import anyio.abc

from asyncmcp_kombu.broker.connection import chosen_settings
from asyncmcp_kombu.server.keys import secret_keys
from asyncmcp_kombu.server.lowlevel import AnyServer, lowlevel_of
from asyncmcp_kombu.server.request_state import share_request_state
from asyncmcp_kombu.server.service import Service
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.topology import Topology


async def serve(
    server: AnyServer,
    broker_url: str | None = None,
    name: str | None = None,
    *,
    settings: Settings | None = None,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. The server's lifespan is entered once, around everything.

    Args:
        server: an `MCPServer`, a low-level `Server`, or a FastMCP 4.
        broker_url: default: ASYNCMCP_BROKER_URL.
        name: after which the queues are named; default: the server's own.
        settings: everything else; default: from the environment.
        task_status: `started()` is called once requests are taken.

    Clients of MCP 2026-07-28 and of the handshake versions are served side by side. Sessions of the latter are
    sealed with `settings.secret_key` and survive a restart.

    Cancelling ends what runs, gives its requests back to the queue, and takes less than a second beyond what
    handlers need to end.

    Raises:
        ConfigurationError: the server, the URL's scheme or the name cannot be used.
        BrokerUnreachable: the broker cannot be reached at the start. Later it is connected to again.
    """
    chosen = chosen_settings(settings, broker_url)
    lowlevel = lowlevel_of(server)
    topology = Topology(name or lowlevel.name, chosen.prefix)
    keys = secret_keys(chosen)
    share_request_state(lowlevel, keys)
    async with lowlevel.lifespan(lowlevel) as state:
        await Service(topology, chosen, keys).run(server, state, task_status)
