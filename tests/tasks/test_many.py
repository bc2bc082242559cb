"""Many tasks of one client in flight at once: none fails."""

from __future__ import annotations

import time

import anyio
import pytest

from tests.tasks.conftest import NewFleet

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ("sqs-sqlite", 256),
        ("redis-redis", 1_000),
        pytest.param("sqs-sqlite", 1_000, marks=pytest.mark.exhaustive),
        pytest.param("redis-redis", 256, marks=pytest.mark.exhaustive),
    ],
)
@pytest.mark.timeout(180)
async def test_none_of_many_fails(new_fleet: NewFleet, where: str, count: int):
    fleet = new_fleet(where, "threads", ASYNCMCP_TASK_POLL_INTERVAL="1")
    fleet.start_worker(concurrency=16)
    answers: list[int] = []
    async with fleet.with_tasks(timeout=120) as (client, _):
        await client.list_tools()
        begun = time.monotonic()

        async def call(n: int) -> None:
            answers.append(((await client.call_tool("double", {"n": n})).structured_content or {})["result"])

        with anyio.fail_after(120):
            async with anyio.create_task_group() as group:
                for n in range(count):
                    group.start_soon(call, n)
        print(f"{where}: {count} tasks in {time.monotonic() - begun:.1f} s")
    assert sorted(answers) == [2 * n for n in range(count)]
