"""The memory broker: client and worker in one process, as for somebody's unit tests."""

from __future__ import annotations

import gc
from collections.abc import Generator

import anyio
import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from mcp import Client
from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPError

from asyncmcp_kombu import Settings, kombu_client, mcp_task, serve_mcp
from asyncmcp_kombu.worker.process import close_all
from tests.services import cleanup_queues, new_prefix

pytestmark = pytest.mark.anyio


@mcp_task
def memory_add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@mcp_task
async def memory_progress(ctx: Context, steps: int) -> str:
    """Report progress."""
    for step in range(steps):
        await ctx.report_progress(step, steps)
    return "done"


@mcp_task
def memory_fails() -> str:
    """Crash."""
    raise KeyError("s3cret")


@mcp_task
def memory_large() -> str:
    """Answer too much."""
    return "x" * 1_100_000


@mcp_task(autoretry_for=(ValueError,), max_retries=2, default_retry_delay=0)
def memory_retries() -> str:
    """Fail each time."""
    raise ValueError("again")


@mcp_task(time_limit=1)
async def memory_hangs() -> str:
    """Run into the time limit."""
    await anyio.sleep(60)
    return "never"


@pytest.fixture(params=["solo", "threads"])
def settings(request: pytest.FixtureRequest) -> Generator[Settings]:
    settings = Settings(broker_url="memory://", prefix=new_prefix(), server="inprocess")
    app = Celery("inprocess", set_as_current=False)
    serve_mcp(app, settings=settings)
    with start_worker(app, pool=request.param, concurrency=4, perform_ping_check=False, shutdown_timeout=30):
        yield settings
    close_all()
    app.close()
    cleanup_queues("memory://", settings.prefix)


def test_what_a_worker_has_loaded_is_not_looked_through_for_garbage_again() -> None:
    app = Celery("frozen", set_as_current=False)
    serve_mcp(app, settings=Settings(broker_url="memory://", prefix=new_prefix(), server="frozen"))
    gc.unfreeze()
    try:
        with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
            assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()
        close_all()
        app.close()


async def test_the_whole_road_in_one_process(settings: Settings) -> None:
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async with Client(kombu_client(settings=settings), read_timeout_seconds=20) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert "memory_add" in names
        await client.call_tool("memory_progress", {"steps": 5}, progress_callback=on_progress)
        assert seen == [0.0, 1.0, 2.0, 3.0, 4.0]
        assert (await client.call_tool("memory_fails", {})).is_error
        assert (await client.call_tool("memory_add", {"a": "x", "b": 1})).is_error
        assert (await client.call_tool("no_such_tool", {})).is_error
        with pytest.raises(MCPError) as caught:
            await client.call_tool("memory_large", {})
        assert caught.value.error.code == -32014
        assert (await client.call_tool("memory_retries", {})).is_error
        with pytest.raises(MCPError) as caught:
            await client.call_tool("memory_hangs", {})
        assert caught.value.error.code == -32011

        answers: list[int] = []

        async def call(n: int) -> None:
            result = await client.call_tool("memory_add", {"a": n, "b": 1})
            answers.append((result.structured_content or {})["result"])

        async with anyio.create_task_group() as tasks:  # 64 in flight
            for n in range(64):
                tasks.start_soon(call, n)
        assert sorted(answers) == list(range(1, 65))
