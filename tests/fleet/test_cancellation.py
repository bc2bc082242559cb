"""A cancelled call: an async tool stops at its next await, a sync tool sees it, a waiting one never starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from tests.fleet.conftest import Fleet

pytestmark = pytest.mark.anyio

SOON = 10.0


async def until(mark: Path, text: str) -> str:
    """The mark's content once it begins with the text."""
    with anyio.fail_after(SOON):
        while not (mark.exists() and mark.read_text().startswith(text)):
            await anyio.sleep(0.02)
    return mark.read_text()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("tool", ["waits", "polls"])
async def test_a_running_tool_is_stopped_and_its_worker_goes_on(fleet: Fleet, tmp_path: Path, tool: str, mode: str):
    mark = tmp_path / "mark"
    async with fleet.client(mode=mode) as client:
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                await client.call_tool(tool, {"mark": str(mark)})
                raise AssertionError("a cancelled call was answered")

            tasks.start_soon(call)
            await until(mark, "started")
            tasks.cancel_scope.cancel()
        assert await until(mark, "ended") == "ended by CancelledError"
        result = await client.call_tool("add", {"a": 1, "b": 2})
        assert result.structured_content == {"result": 3}


@pytest.mark.parametrize("pool", ["threads", "solo"])
async def test_a_running_tool_is_stopped_on_every_pool(fleets: Callable[..., Fleet], tmp_path: Path, pool: str) -> None:
    fleet, mark = fleets("redis", pool), tmp_path / "mark"
    async with fleet.client() as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "waits", {"mark": str(mark)})
            await until(mark, "started")
            tasks.cancel_scope.cancel()
        await until(mark, "ended")


@pytest.mark.parametrize("broker", ["redis", "sqs", "rabbitmq"])
async def test_a_call_that_was_cancelled_while_it_waited_is_never_started(
    new_fleet: Callable[..., Fleet], broker: str, tmp_path: Path
):
    fleet = new_fleet(broker)
    fleet.start_worker(concurrency=1)
    first, second = tmp_path / "first", tmp_path / "second"
    async with fleet.client() as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "waits", {"mark": str(first)})
            await until(first, "started")
            for _ in range(3):  # one is leased, the others wait in the queue
                with anyio.move_on_after(0.3):
                    await client.call_tool("sleeps", {"seconds": 0, "mark": str(second)})
            tasks.cancel_scope.cancel()
        await client.call_tool("add", {"a": 1, "b": 2})
    assert not second.exists()


async def test_celery_shows_a_cancelled_call_as_revoked(fleets: Callable[..., Fleet], tmp_path: Path):
    fleet, mark = fleets("redis"), tmp_path / "mark"
    async with fleet.client() as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "waits", {"mark": str(mark)})
            await until(mark, "started")
            tasks.cancel_scope.cancel()
        await until(mark, "ended")
    with anyio.fail_after(SOON):
        while "revoked" not in fleet.worker.logs():
            await anyio.sleep(0.05)
