"""serve: one process, many clients, every broker, no Celery."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.from_thread
import pytest
from mcp import Client
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError

from asyncmcp_kombu import Settings, kombu_client, serve
from asyncmcp_kombu.errors import BrokerUnreachable
from tests import services
from tests.services import quick

pytestmark = pytest.mark.anyio


class Notes:
    """A server, and what happened in it."""

    def __init__(self, name: str = "notes") -> None:
        self.server = MCPServer(name)
        self.calls = 0
        self.cancelled, self.started = anyio.Event(), anyio.Event()

        @self.server.tool()
        async def add(a: int, b: int) -> int:
            """Add two numbers."""
            self.calls += 1
            return a + b

        @self.server.tool()
        async def progress(ctx: Context, steps: int) -> str:
            """Report progress."""
            for step in range(steps):
                await ctx.report_progress(step, steps)
            return "done"

        @self.server.tool()
        async def waits() -> str:
            """Wait until cancelled."""
            self.started.set()
            try:
                await anyio.sleep(60)
            except anyio.get_cancelled_exc_class():
                self.cancelled.set()
                raise
            return "never"

        @self.server.tool()
        def large() -> str:
            """Answer too much."""
            return "x" * 1_100_000


@asynccontextmanager
async def served(settings: Settings, *servers: Notes) -> AsyncGenerator[None]:
    async with anyio.create_task_group() as tasks:
        for one in servers:

            async def run(*, task_status: Any, server: MCPServer = one.server) -> None:
                await serve(server, settings=settings, task_status=task_status)

            await tasks.start(run)
        yield
        tasks.cancel_scope.cancel()


def client(settings: Settings, **options: Any) -> Client:
    return Client(kombu_client(settings=settings), read_timeout_seconds=20, **options)


async def test_lists_calls_and_reports_progress_in_order(settings: Settings) -> None:
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async with served(settings, Notes()), client(settings) as one:
        assert {"add", "progress"} <= {tool.name for tool in (await one.list_tools()).tools}
        assert (await one.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}
        await one.call_tool("progress", {"steps": 10}, progress_callback=on_progress)
        assert seen == [float(n) for n in range(10)]
        with pytest.raises(MCPError) as caught:
            await one.call_tool("large", {})
        assert caught.value.error.code == -32014


async def test_many_clients_at_once_each_get_their_own_answers(settings: Settings) -> None:
    answers: list[tuple[int, int]] = []

    async def use(n: int) -> None:
        async with client(settings) as one:
            for m in range(5):
                result = await one.call_tool("add", {"a": 100 * n, "b": m})
                answers.append((n, (result.structured_content or {})["result"]))

    async with served(settings, Notes()), anyio.create_task_group() as tasks:
        for n in range(8):
            tasks.start_soon(use, n)
        # The group ends with its tasks; the server is cancelled after it.
    assert sorted(answers) == sorted((n, 100 * n + m) for n in range(8) for m in range(5))


async def test_two_servers_on_one_queue_lose_nothing(settings: Settings) -> None:
    first, second = Notes(), Notes()
    answers: list[int] = []

    async def call(one: Client, n: int) -> None:
        result = await one.call_tool("add", {"a": n, "b": 0})
        answers.append((result.structured_content or {})["result"])

    async with served(settings, first, second), client(settings) as one, anyio.create_task_group() as tasks:
        for n in range(40):
            tasks.start_soon(call, one, n)
    assert sorted(answers) == list(range(40))
    assert first.calls + second.calls == 40


async def test_a_cancelled_call_is_cancelled_in_the_tool(settings: Settings) -> None:
    notes = Notes()
    async with served(settings, notes), client(settings) as one:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.call_tool, "waits", {})
            with anyio.fail_after(10):
                await notes.started.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(10):
            await notes.cancelled.wait()
        assert (await one.call_tool("add", {"a": 1, "b": 1})).structured_content == {"result": 2}


async def test_a_request_of_a_stopped_server_is_served_by_the_next(settings: Settings) -> None:
    if settings.broker_url.get_secret_value() == services.MEMORY_URL:
        pytest.skip("memory has no second process to take over")
    first, second = Notes(), Notes()
    async with client(settings, mode="2026-07-28") as one, anyio.create_task_group() as tasks:
        async with served(settings, first):
            tasks.start_soon(one.call_tool, "waits", {})
            with anyio.fail_after(10):
                await first.started.wait()
        async with served(settings, second):
            with anyio.fail_after(10):
                await second.started.wait()
            tasks.cancel_scope.cancel()


async def test_ending_takes_less_than_a_second(settings: Settings) -> None:
    async with served(settings, Notes()):
        began = time.monotonic()
    assert time.monotonic() - began < quick(1.0)


async def test_an_unreachable_broker_is_told() -> None:
    settings = Settings(broker_url=f"redis://:s3cret@127.0.0.1:{services.free_port()}", server="notes")
    with pytest.raises(BrokerUnreachable) as caught:
        await serve(Notes().server, settings=settings)
    assert "s3cret" not in str(caught.value)
