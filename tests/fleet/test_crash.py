"""Crashes: acknowledged only after the reply is accepted; nothing lost, nobody answered twice."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from asyncmcp_kombu.client.mailbox import Mailbox
from asyncmcp_kombu.envelope import Envelope
from tests.fleet.conftest import Fleet
from tests.fleet.native import NativeProcess

pytestmark = pytest.mark.anyio
SHORT_LEASE = {"ASYNCMCP_VISIBILITY_TIMEOUT": "3", "ASYNCMCP_WAIT_TIME": "1"}


async def until(path: Path, text: str, timeout: float = 20) -> None:
    with anyio.fail_after(timeout):
        while not (path.exists() and text in path.read_text()):
            await anyio.sleep(0.02)


@pytest.fixture
def responses(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many responses reached this process for each request, duplicates that the client drops included."""
    counted: Counter[str] = Counter()
    original = Mailbox._on_message

    def counting(self: Mailbox, message: object) -> None:
        if b'"result"' in _bytes(message.body) or b'"error"' in _bytes(message.body):  # type: ignore[attr-defined]
            counted[str(message.headers["RequestId"])] += 1  # type: ignore[attr-defined]
        original(self, message)

    monkeypatch.setattr(Mailbox, "_on_message", counting)
    return counted


def _bytes(body: str | bytes) -> bytes:
    return body.encode() if isinstance(body, str) else bytes(body)


@pytest.mark.parametrize("broker", ["sqs", "rabbitmq", "redis"])
async def test_a_call_survives_the_kill_of_its_worker_and_is_answered_once(
    new_fleet: Callable[..., Fleet], broker: str, tmp_path: Path, responses: Counter[str]
) -> None:
    fleet, mark = new_fleet(broker, **SHORT_LEASE), tmp_path / "mark"
    first = fleet.start_worker(concurrency=1).container
    results: list[object] = []

    async with fleet.client(timeout=60) as client:
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                result = await client.call_tool("sleeps", {"seconds": 2, "mark": str(mark), "tag": "t"})
                results.append(result.structured_content)

            tasks.start_soon(call)
            await until(mark, "start t")
            await anyio.to_thread.run_sync(first.kill)
            await anyio.to_thread.run_sync(lambda: fleet.start_worker(concurrency=1))
    assert results == [{"result": "t"}]
    assert mark.read_text().count("start t") == 2
    assert mark.read_text().count("end t") == 1
    assert max(responses.values()) == 1


@pytest.mark.exhaustive  # `make chaos` does more of it
@pytest.mark.parametrize("broker", ["sqs", "redis"])
async def test_fifty_calls_while_one_worker_after_the_other_is_killed(
    new_fleet: Callable[..., Fleet], broker: str
) -> None:
    """The client sees 50 answers and none twice. A call that was answered but not acknowledged when its worker
    died runs and answers again; the client drops that second answer."""
    fleet = new_fleet(broker, **SHORT_LEASE)
    for _ in range(2):
        fleet.start_worker(concurrency=2)
    answers: Counter[str] = Counter()
    over = threading.Event()

    def keep_killing() -> None:
        victim = 0
        while not over.wait(2.0):
            process: NativeProcess = fleet.workers[victim % 2].container
            process.kill(signal.SIGKILL)
            process._start()
            process.ready()  # on a slow machine that takes longer than two seconds: one of them serves meanwhile
            victim += 1

    async with fleet.client(timeout=100) as client:

        async def call(n: int) -> None:
            result = await client.call_tool("sleeps", {"seconds": 0.5, "tag": f"call-{n}"})
            answers[(result.structured_content or {})["result"]] += 1

        killer = threading.Thread(target=keep_killing)
        killer.start()
        try:
            async with anyio.create_task_group() as tasks:
                for n in range(50):
                    tasks.start_soon(call, n)
        finally:
            over.set()
            await anyio.to_thread.run_sync(killer.join)
    assert answers == {f"call-{n}": 1 for n in range(50)}


@pytest.mark.parametrize(
    ("broker", "pool"),
    [
        ("sqs", "prefork"),
        pytest.param("sqs", "threads", marks=pytest.mark.exhaustive),
        pytest.param("rabbitmq", "prefork", marks=pytest.mark.exhaustive),
        ("redis", "threads"),
    ],
)
async def test_warm_shutdown_answers_what_runs_and_gives_back_what_waits(
    new_fleet: Callable[..., Fleet], broker: str, pool: str, tmp_path: Path, responses: Counter[str]
) -> None:
    """The lease is 30 s here: what waits must be given back, not left to lapse."""
    fleet, mark = new_fleet(broker, pool), tmp_path / "mark"
    first = fleet.start_worker(concurrency=1).container
    tags: list[str] = []

    async with fleet.client(timeout=25) as client:
        async with anyio.create_task_group() as tasks:

            async def call(tag: str) -> None:
                result = await client.call_tool("sleeps", {"seconds": 1.5, "mark": str(mark), "tag": tag})
                tags.append((result.structured_content or {})["result"])

            tasks.start_soon(call, "runs")
            await until(mark, "start runs")
            tasks.start_soon(call, "waits")
            code = await anyio.to_thread.run_sync(first.terminate)
            await anyio.to_thread.run_sync(lambda: fleet.start_worker(concurrency=1))
    assert code == 0
    assert sorted(tags) == ["runs", "waits"]
    for tag in tags:
        assert mark.read_text().count(f"start {tag}\n") == 1
    assert set(responses.values()) == {1}


async def test_a_long_call_keeps_its_short_lease(new_fleet: Callable[..., Fleet], tmp_path: Path) -> None:
    """A visibility timeout of 2 s serves a call of 5 s while another worker waits to take it."""

    async def on(broker: str) -> None:
        fleet = new_fleet(broker, ASYNCMCP_VISIBILITY_TIMEOUT="2", ASYNCMCP_WAIT_TIME="1")
        mark = tmp_path / broker
        for _ in range(2):
            await anyio.to_thread.run_sync(lambda: fleet.start_worker(concurrency=1))
        async with fleet.client() as client:
            await client.call_tool("sleeps", {"seconds": 5, "mark": str(mark), "tag": "t"})
        assert mark.read_text().count("start t") == 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(on, "sqs")
        tasks.start_soon(on, "redis")


def test_an_envelope_repr_shows_no_body() -> None:
    envelope = Envelope(body=b"s3cret", message={"params": "s3cret"}, timestamp=0.0, session_id="s3cret")
    assert "s3cret" not in repr(envelope)
