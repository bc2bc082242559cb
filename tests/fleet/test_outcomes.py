"""Outcomes: a finished call that is delivered again is answered again, and not run again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from asyncmcp_kombu.topology import new_client_id
from tests.fleet.conftest import Fleet
from tests.fleet.test_crash import SHORT_LEASE, responses
from tests.fleet.test_refusals import META, Writer

__all__ = ["responses"]

pytestmark = pytest.mark.anyio
FAULTY = "tests.fleet.faulty_app"
KEPT_ON_REDIS = {"ASYNCMCP_RESULT_BACKEND": "redis://127.0.0.1:6379/9"}


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, str]:
    """Settings by which results are kept in a file of this test's own."""
    return {"XDG_STATE_HOME": str(tmp_path), "ASYNCMCP_SECRET_KEY": "k" * 32}


async def call_while_its_worker_dies(fleet: Fleet, stage: str, directory: Path) -> tuple[object, int]:
    """The answer, and how often the tool ran. Of two workers, whoever takes the call dies, and the other lives."""
    mark, died = directory / "mark", directory / "died"
    fleet.extra_env |= {"FLEET_DIES": stage, "FLEET_DIED": str(died)}
    async with anyio.create_task_group() as starting:
        for _ in range(2):
            starting.start_soon(anyio.to_thread.run_sync, lambda: fleet.start_worker(app=FAULTY, concurrency=1))
    async with fleet.client(timeout=40) as client:
        result = await client.call_tool("sleeps", {"seconds": 0, "mark": str(mark), "tag": "t"})
        # What is delivered again is settled before the client, and its queue, are gone.
        with anyio.fail_after(20):
            while await anyio.to_thread.run_sync(fleet.waiting):
                await anyio.sleep(0.1)
    assert died.read_text() == stage
    return result.structured_content, mark.read_text().count("start t")


@pytest.mark.parametrize(
    ("stage", "broker", "runs"),
    [
        ("received", "sqs", 1),
        pytest.param("ran", "sqs", 2, marks=pytest.mark.exhaustive),
        ("recorded", "sqs", 1),
        pytest.param("sent", "sqs", 2, marks=pytest.mark.exhaustive),
        ("answered", "sqs", 1),
        pytest.param("received", "rabbitmq", 1, marks=pytest.mark.exhaustive),
        pytest.param("ran", "rabbitmq", 2, marks=pytest.mark.exhaustive),
        pytest.param("recorded", "rabbitmq", 1, marks=pytest.mark.exhaustive),
        pytest.param("answered", "rabbitmq", 1, marks=pytest.mark.exhaustive),
        pytest.param("recorded", "redis", 1, marks=pytest.mark.exhaustive),
        pytest.param("answered", "redis", 1, marks=pytest.mark.exhaustive),
    ],
)
async def test_a_worker_that_dies_at_this_stage_leaves_one_answer_and_so_many_runs(
    new_fleet: Callable[..., Fleet],
    stage: str,
    broker: str,
    runs: int,
    kept: dict[str, str],
    tmp_path: Path,
    responses: Counter[str],
) -> None:
    fleet = new_fleet(broker, **SHORT_LEASE, **kept, **(KEPT_ON_REDIS if broker == "redis" else {}))
    answer, ran = await call_while_its_worker_dies(fleet, stage, tmp_path)
    assert answer == {"result": "t"}
    assert ran == runs
    last = max(responses, key=int)  # the call's; what was asked before may have been answered twice, too
    assert responses[last] <= (2 if stage in ("sent", "answered") else 1)


def resend(writer: Writer, client: str, mark: Path, tag: str = "a") -> Any:
    """Send a call, always under the same id, and return its answer."""
    arguments = {"seconds": 0, "mark": str(mark), "tag": tag}
    params = {"name": "sleeps", "arguments": arguments, "_meta": META}
    writer.write({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}, ClientId=client)
    answer = writer.answer()
    return answer["result"].get("structuredContent", answer)


@pytest.mark.parametrize(
    "backend",
    [
        "sqlite",
        pytest.param("redis", marks=pytest.mark.exhaustive),
        pytest.param("file", marks=pytest.mark.exhaustive),
    ],
)
def test_with_dedupe_always_a_resend_is_answered_from_the_record(
    new_fleet: Callable[..., Fleet], kept: dict[str, str], tmp_path: Path, backend: str
) -> None:
    (tmp_path / "rows").mkdir()
    chosen = {"redis": KEPT_ON_REDIS, "file": {"ASYNCMCP_RESULT_BACKEND": f"file://{tmp_path / 'rows'}"}}
    fleet = new_fleet("sqs", "threads", **kept, **chosen.get(backend, {}), ASYNCMCP_DEDUPE="always")
    fleet.start_worker(concurrency=2)
    client, mark, writer = new_client_id(), tmp_path / "mark", Writer(fleet)
    writer.inbox.start()
    try:
        assert resend(writer, client, mark) == {"result": "a"}
        assert resend(writer, client, mark) == {"result": "a"}
        assert mark.read_text().count("start a") == 1
        # Another call under the same id is another call, and so is the same of another client.
        assert resend(writer, client, mark, tag="b") == {"result": "b"}
        assert resend(writer, new_client_id(), mark) == {"result": "a"}
        assert mark.read_text().count("start a") == 2
    finally:
        writer.inbox.close()


def test_without_its_result_backend_a_worker_answers_and_says_what_that_means(
    new_fleet: Callable[..., Fleet], kept: dict[str, str], tmp_path: Path
) -> None:
    fleet = new_fleet("sqs", "threads", **kept, ASYNCMCP_RESULT_BACKEND="redis://127.0.0.1:1/0")
    worker = fleet.start_worker(concurrency=2).container
    writer, mark = Writer(fleet), tmp_path / "mark"
    writer.inbox.start()
    try:
        for _ in range(3):
            assert resend(writer, new_client_id(), mark) == {"result": "a"}
    finally:
        writer.inbox.close()
    worker.wait_for_log("the result backend fails")
    assert worker.logs().count("the result backend fails") == 1
