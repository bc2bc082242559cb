"""Unserved: a process that cannot begin to serve a call leaves nobody waiting, and loses nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from mcp.shared.exceptions import MCPError

from tests.fleet.conftest import Fleet
from tests.fleet.test_outcomes import FAULTY

pytestmark = pytest.mark.anyio
Start = Callable[[str], Awaitable[Fleet]]


@pytest.fixture(params=[("sqs", "prefork"), ("redis", "threads"), ("rabbitmq", "prefork")], ids="-".join)
def start(request: pytest.FixtureRequest, new_fleet: Callable[..., Fleet], tmp_path: Path) -> Start:
    """Starts a fleet whose processes fail at a stage."""

    async def start(stage: str) -> Fleet:
        fleet = new_fleet(*request.param, FLEET_DIES=stage, FLEET_DIED=str(tmp_path / "mark"))
        await anyio.to_thread.run_sync(lambda: fleet.start_worker(app=FAULTY, concurrency=2))
        return fleet

    return start


async def test_a_call_that_a_process_cannot_serve_runs_again(start: Start) -> None:
    fleet = await start("unserved-once")
    async with fleet.client() as client:
        assert (await client.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}
    assert "FileNotFoundError" in fleet.worker.logs()


async def test_the_caller_of_one_that_no_process_can_serve_is_told(start: Start) -> None:
    fleet = await start("unserved")
    async with fleet.client() as client:
        with pytest.raises(MCPError, match=r"could not serve it \(FileNotFoundError\)") as caught:
            await client.call_tool("add", {"a": 1, "b": 2})
    assert (caught.value.error.code, (caught.value.error.data or {})["reason"]) == (-32010, "worker-lost")
    with anyio.fail_after(10):  # acknowledged after the answer
        while await anyio.to_thread.run_sync(fleet.waiting):
            await anyio.sleep(0.05)
