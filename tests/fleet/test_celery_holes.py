"""Regression tests, by number, for holes of Celery on SQS that users know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from tests.fleet.conftest import Fleet
from tests.fleet.test_crash import until

pytestmark = pytest.mark.anyio
BROKERS = ["sqs", pytest.param("redis", marks=pytest.mark.exhaustive)]


@pytest.mark.parametrize("broker", BROKERS)
async def test_celery_4002_no_message_is_doubled_or_held_back_by_a_shutdown(
    new_fleet: Callable[..., Fleet], broker: str, tmp_path: Path
) -> None:
    """With a lease of 30 s: what waits in the worker that ends is served by the other one within seconds."""
    fleet, mark = new_fleet(broker), tmp_path / "mark"
    async with anyio.create_task_group() as starting:
        for _ in range(2):
            starting.start_soon(anyio.to_thread.run_sync, lambda: fleet.start_worker(concurrency=1))
    tags: Counter[str] = Counter()
    async with fleet.client(timeout=25) as client, anyio.create_task_group() as tasks:

        async def call(tag: str) -> None:
            result = await client.call_tool("sleeps", {"seconds": 0.3, "mark": str(mark), "tag": tag})
            tags[(result.structured_content or {})["result"]] += 1

        for n in range(12):
            tasks.start_soon(call, f"call-{n}.")
        await until(mark, "end call")
        code = await anyio.to_thread.run_sync(fleet.worker.terminate)
    assert code == 0
    assert tags == {f"call-{n}.": 1 for n in range(12)}
    assert [mark.read_text().count(f"start {tag}") for tag in tags] == [1] * 12


@pytest.mark.parametrize("broker", BROKERS)
async def test_a_call_that_begins_in_the_instant_of_a_shutdown_runs_once_and_does_not_delay_it(
    new_fleet: Callable[..., Fleet], broker: str, tmp_path: Path
) -> None:
    """Celery forgets a job of which its child has not said that it runs, and the child then waits for 30 s.

    What was not yet handed to a child is given back, for the second worker.
    """
    fleet, mark = new_fleet(broker), tmp_path / "mark"
    first = fleet.start_worker(concurrency=1).container
    answers = list[object]()

    async def call() -> None:
        result = await client.call_tool("sleeps", {"seconds": 0, "mark": str(mark), "tag": "t"})
        answers.append((result.structured_content or {})["result"])

    async with fleet.client() as client, anyio.create_task_group() as tasks:
        await client.list_tools()  # which the SDK asks for after the first call
        tasks.start_soon(call)
        with anyio.fail_after(20):
            while "Task sleeps[" not in first.logs():
                await anyio.sleep(0.001)
        code = await anyio.to_thread.run_sync(lambda: first.terminate(timeout=15))
        await anyio.to_thread.run_sync(lambda: fleet.start_worker(concurrency=1))
    assert (code, answers) == (0, ["t"])
    assert mark.read_text().count("start t") == 1


@pytest.mark.parametrize("broker", BROKERS)
async def test_celery_3270_a_retry_delay_beyond_the_visibility_timeout_runs_once(
    new_fleet: Callable[..., Fleet], broker: str, tmp_path: Path
) -> None:
    """A lease of 2 s, a delay of 5 s, and a second worker that would take what lapses."""
    fleet, mark = new_fleet(broker, ASYNCMCP_VISIBILITY_TIMEOUT="2", ASYNCMCP_WAIT_TIME="1"), tmp_path / "mark"
    async with anyio.create_task_group() as starting:
        for _ in range(2):
            starting.start_soon(anyio.to_thread.run_sync, lambda: fleet.start_worker(concurrency=1))
    async with fleet.client(timeout=40) as client:
        result = await client.call_tool("retries_later", {"mark": str(mark), "delay": 5.0})
        assert result.structured_content == {"result": "done"}
        await anyio.sleep(2.5)  # a lease, after which another one would run it
    assert mark.read_text() == "xx"


@pytest.mark.parametrize("broker", ["sqs"])
async def test_a_killed_prefork_child_is_not_acknowledged_and_its_call_runs_again(
    fleets: Callable[..., Fleet], broker: str, tmp_path: Path
) -> None:
    """Celery acknowledges it unless `task_reject_on_worker_lost` is set, and nobody hears of the call again."""
    mark = tmp_path / "mark"
    async with fleets(broker).client() as client:
        result = await client.call_tool("dies", {"mark": str(mark), "times": 1})
    assert result.structured_content == {"result": "survived after 1"}
    assert mark.read_text() == "xx"
