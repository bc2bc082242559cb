"""At-most-once: a tool that is not started twice, and a caller that is told what became of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from celery import Celery
from mcp import Client, MCPError

from asyncmcp_kombu import Settings
from asyncmcp_kombu.worker.once import reason_not_to_start
from asyncmcp_kombu.worker.outcomes import Outcomes
from tests.fleet.conftest import Fleet
from tests.fleet.test_crash import SHORT_LEASE, until
from tests.fleet.test_outcomes import KEPT_ON_REDIS
from tests.services import free_port, redis_url

ON_NOTHING = {"ASYNCMCP_RESULT_BACKEND": "disabled://"}
UNKNOWN = (-32012, "outcome-unknown")


async def call(client: Client, tag: str, mark: Path, tool: str = "sleeps_once", **options: object) -> object:
    try:
        result = await client.call_tool(tool, {"mark": str(mark), "tag": tag, **options})
    except MCPError as error:
        return error.error.code, error.error.data["reason"]
    return (result.structured_content or {})["result"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("broker", "kept"),
    [
        ("sqs", {}),
        pytest.param("sqs", KEPT_ON_REDIS, marks=pytest.mark.exhaustive),
        pytest.param("sqs", ON_NOTHING, marks=pytest.mark.exhaustive),
        pytest.param("rabbitmq", KEPT_ON_REDIS, marks=pytest.mark.exhaustive),
        ("redis", KEPT_ON_REDIS),
    ],
)
async def test_its_caller_is_told_when_the_whole_worker_dies(
    new_fleet: Callable[..., Fleet], broker: str, kept: dict[str, str], tmp_path: Path
) -> None:
    fleet, mark, answers = new_fleet(broker, **SHORT_LEASE, **kept), tmp_path / "mark", list[object]()
    first = fleet.start_worker(concurrency=1).container

    async def noted() -> None:
        answers.append(await call(client, "t", mark, seconds=3))

    async with fleet.client() as client, anyio.create_task_group() as tasks:
        tasks.start_soon(noted)
        await until(mark, "start t")
        await anyio.to_thread.run_sync(first.kill)
        await anyio.to_thread.run_sync(lambda: fleet.start_worker(concurrency=1))
    assert answers == [UNKNOWN]
    assert mark.read_text().count("start t") == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("kept", "told"),
    [
        pytest.param(KEPT_ON_REDIS, "waits", id="shared"),
        pytest.param({}, UNKNOWN, id="sqlite", marks=pytest.mark.exhaustive),
    ],
)
async def test_what_a_worker_gave_back_runs_where_a_note_tells_that_it_was_not_started(
    new_fleet: Callable[..., Fleet], kept: dict[str, str], told: object, tmp_path: Path
) -> None:
    fleet, mark, answers = new_fleet("sqs", **kept), tmp_path / "mark", dict[str, object]()
    first = fleet.start_worker(concurrency=1).container

    async def noted(tag: str) -> None:
        answers[tag] = await call(client, tag, mark, tool="limited_once")

    async with fleet.client() as client, anyio.create_task_group() as tasks:
        await noted("runs")
        tasks.start_soon(noted, "waits")
        await anyio.to_thread.run_sync(lambda: first.wait_for_log("'tag': 'waits'"))
        await anyio.to_thread.run_sync(first.terminate)
        await anyio.to_thread.run_sync(lambda: fleet.start_worker(concurrency=1))
    assert answers == {"runs": "runs", "waits": told}
    assert mark.read_text().count("start waits") == (1 if told == "waits" else 0)


@pytest.mark.parametrize("backend", ["redis://127.0.0.1:{}/0", "db+postgresql+psycopg://127.0.0.1:{}/none"])
def test_it_is_not_started_while_its_start_cannot_be_noted(backend: str):
    app = Celery("once", backend=backend.format(free_port()), set_as_current=False)
    outcomes = Outcomes(app, Settings())
    try:
        first = reason_not_to_start(outcomes, "key", redelivered=False)
        again = reason_not_to_start(outcomes, "key", redelivered=True)
    finally:
        outcomes.close()
    assert (first and first.code, again and again.code) == (-32018, -32012)


def test_a_call_that_says_not_whose_it_is_starts_once():
    outcomes = Outcomes(Celery("once", backend=redis_url(), set_as_current=False), Settings())
    assert reason_not_to_start(outcomes, None, redelivered=False) is None
    again = reason_not_to_start(outcomes, None, redelivered=True)
    assert again is not None
    assert again.code == -32012
