"""A server with tools that wait for the test, on each broker without Celery; and the fleets of tests/fleet."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import RequestParamsMeta
from pydantic import SecretStr

from asyncmcp_kombu import Settings, kombu_client, serve
from tests import services
from tests.fleet.conftest import Fleet, anyio_backend, broker_urls, fleets

__all__ = ["anyio_backend", "broker_urls", "fleets"]

BROKERS = ["sqs", "rabbitmq", "redis"]
SOON = 15.0


@pytest.fixture
def fleet(fleets: Callable[..., Fleet]) -> Fleet:
    """A running fleet on SQS: what is particular to a broker is tried without Celery, which takes seconds to start."""
    return fleets("sqs")


@pytest.fixture(params=[*BROKERS, "memory"])
def settings(request: pytest.FixtureRequest, broker_urls: Callable[[str], str], prefix: str) -> Any:
    """For a server in this process, on each broker."""
    url = services.MEMORY_URL if request.param == "memory" else broker_urls(request.param)
    yield Settings(broker_url=SecretStr(url), prefix=prefix, server="echo", wait_time=1, visibility_timeout=3)
    services.cleanup_queues(url, prefix)


class Steps:
    """A server whose tool waits for the test, and reports progress."""

    def __init__(self) -> None:
        self.server = MCPServer("echo")
        self.started, self.go_on = anyio.Event(), anyio.Event()

        @self.server.tool()
        async def step(ctx: Context, text: str) -> str:
            """Start, report, wait for the test, answer."""
            self.started.set()
            await ctx.report_progress(1, 2)
            await self.go_on.wait()
            if text == "refused":
                raise MCPError(-32099, "refused")
            return text

        @self.server.tool()
        def echo(text: str) -> str:
            """Answer at once."""
            return text

        @self.server.tool()
        def large(size: int) -> str:
            """Answer with that many characters."""
            return "x" * size

        @self.server.tool()
        async def tell(ctx: Context, uri: str) -> str:
            """Say that a resource has changed."""
            await ctx.notify_resource_updated(uri)
            return uri


@asynccontextmanager
async def served(settings: Settings, steps: Steps) -> AsyncGenerator[Steps]:
    async with anyio.create_task_group() as tasks:

        async def run(*, task_status: Any) -> None:
            await serve(steps.server, settings=settings, task_status=task_status)

        await tasks.start(run)
        yield steps
        tasks.cancel_scope.cancel()


def client(settings: Settings, **options: Any) -> Client:
    return Client(kombu_client(settings=settings, **options), read_timeout_seconds=SOON)


def keyed(key: str) -> RequestParamsMeta:
    """What gives a request its key."""
    meta: Any = {"io.asyncmcp/requestId": key}
    return meta


async def until(path: Path, text: str) -> None:
    """Until another process wrote the text; there is no event to wait for between processes."""
    with anyio.fail_after(SOON):
        while not (path.exists() and text in path.read_text()):
            await anyio.sleep(0.02)
