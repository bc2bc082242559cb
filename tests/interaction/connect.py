"""connect: how a test gets a client of a server, wherever the server runs and whatever era it speaks."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import anyio
from mcp import Client
from mcp.client.session import ClientSession

from asyncmcp_kombu import kombu_client
from tests.interaction.deployments import Deployment
from tests.interaction.servers import MCPSERVER, make_server
from tests.interaction.spec import Broker, Era, Host

SOON: Final = 20.0
"""Seconds within which everything that a test waits for has happened."""
MODES: Final[dict[Era, str]] = {"2026": "auto", "handshake": "legacy"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a test runs. The SDK's own transport has no broker."""

    host: Host
    era: Era
    broker: Broker | None = None

    def __str__(self) -> str:
        return "-".join([*([self.broker] if self.broker else []), self.host, self.era])


class Connect:
    """Connects clients to the servers of one place."""

    def __init__(self, place: Place, deployment: Deployment | None) -> None:
        self.place, self.era = place, place.era
        self._deployment = deployment

    @property
    def deployment(self) -> Deployment:
        assert self._deployment is not None, "the SDK's own transport has no deployment"
        return self._deployment

    def __call__(
        self, server: str = MCPSERVER, *, mode: str | None = None, max_message_bytes: int | None = None, **options: Any
    ) -> AbstractAsyncContextManager[Client]:
        """A client, connected while entered.

        Args:
            server: the MCPServer, or LOWLEVEL.
            mode: of the SDK's client; default: that of the place's era.
            max_message_bytes: sessions with a limit of their own share no mailbox with the others.
            options: of the SDK's client.
        """
        options = {"read_timeout_seconds": SOON, "mode": mode or MODES[self.era], **options}
        if self._deployment is None:
            return Client(_of_the_sdk(server), **options)
        return Client(self.transport(server, max_message_bytes), **options)

    @asynccontextmanager
    async def session(self, server: str = MCPSERVER) -> AsyncGenerator[ClientSession]:
        """A session that has sent nothing yet."""
        async with self.transport(server) as (read, write), ClientSession(read, write, SOON) as session:
            yield session

    def transport(self, server: str = MCPSERVER, max_message_bytes: int | None = None) -> Any:
        settings = self.deployment.settings(server)
        if max_message_bytes is not None:
            settings = settings.model_copy(update={"max_message_bytes": max_message_bytes})
        return kombu_client(settings=settings)


@cache
def _of_the_sdk(server: str) -> Any:
    """One for all tests: making it takes longer than a test."""
    return make_server(server)


async def until(mark: Path) -> str:
    """What a server, perhaps in another process, wrote into the file, once it did."""
    with anyio.fail_after(SOON):
        while not (mark.exists() and mark.read_text()):
            await anyio.sleep(0.01)
    return mark.read_text()
