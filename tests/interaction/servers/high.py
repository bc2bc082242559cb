"""The MCPServer: all of its features, one file for each kind."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup
from mcp.server.caching import CacheHint
from mcp.server.mcpserver import MCPServer

from tests.interaction.servers import MCPSERVER, answering, asking, documents, extended, notifying, rounds
from tests.interaction.servers.media import ICON

INSTRUCTIONS: Final = "Ask for anything."
VERSION: Final = "1.2.3"
TITLE: Final = "Test fleet"
WEBSITE: Final = "https://example.com/"


@dataclass(slots=True)
class State:
    """What the lifespan gives.

    Attributes:
        entered: how often it has been entered in this process by now.
        tasks: for what goes on when its request is answered.
    """

    pid: int = 0
    entered: int = 0
    tasks: TaskGroup | None = None


def make() -> MCPServer[State]:
    state = State()

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncGenerator[State]:
        async with anyio.create_task_group() as state.tasks:
            state.pid, state.entered = os.getpid(), state.entered + 1
            yield state
            state.tasks.cancel_scope.cancel()

    server = MCPServer(
        MCPSERVER,
        title=TITLE,
        description="Has one of each.",
        instructions=INSTRUCTIONS,
        website_url=WEBSITE,
        icons=[ICON],
        version=VERSION,
        lifespan=lifespan,
        extensions=[extended.Interaction()],
        middleware=[extended.gatekeeper],
        cache_hints={"tools/list": CacheHint(ttl_ms=60_000, scope="public"), "resources/read": CacheHint(ttl_ms=5_000)},
        log_level="WARNING",
    )
    for feature in (answering, asking, documents, notifying, rounds):
        feature.register(server)
    return server
