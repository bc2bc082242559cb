"""Poison: a request that kills whoever takes it stops doing so, its caller is told, and it can be sent back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from mcp.shared.exceptions import MCPError
from typer.testing import CliRunner

from asyncmcp_kombu.cli.main import app
from tests.fleet.conftest import Fleet
from tests.fleet.test_crash import SHORT_LEASE
from tests.fleet.test_outcomes import FAULTY

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "broker", ["sqs", *(pytest.param(other, marks=pytest.mark.exhaustive) for other in ("redis", "rabbitmq"))]
)
async def test_a_request_that_kills_its_workers_ends_as_a_dead_letter_and_is_served_when_sent_back(
    new_fleet: Callable[..., Fleet], broker: str, tmp_path: Path
) -> None:
    healed, mark = tmp_path / "healed", tmp_path / "mark"
    fleet = new_fleet(broker, **SHORT_LEASE, ASYNCMCP_MAX_RECEIVES="2", FLEET_DIES="always", FLEET_DIED=str(healed))
    async with anyio.create_task_group() as starting:
        for _ in range(3):
            starting.start_soon(anyio.to_thread.run_sync, lambda: fleet.start_worker(app=FAULTY, pool="solo"))
    async with fleet.client(timeout=60) as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("sleeps", {"seconds": 0, "tag": "poison", "mark": str(mark)})
        assert (caught.value.error.code, (caught.value.error.data or {})["reason"]) == (-32017, "too-many-receives")
        assert sorted(worker.container.status for worker in fleet.workers) == ["exited", "exited", "running"]

        healed.touch()
        env = {**fleet.env, "ASYNCMCP_SERVER": fleet.topology.server}

        def redrive() -> str:
            return CliRunner().invoke(app, ["queues", "redrive", "--yes"], env=env).output

        assert "1 too-many-receives" in await anyio.to_thread.run_sync(redrive)
        with anyio.fail_after(20):
            while not (mark.exists() and "end poison" in mark.read_text()):
                await anyio.sleep(0.05)


@pytest.mark.parametrize("broker", ["sqs"])
async def test_a_call_that_kills_the_workers_of_its_tools_own_queue_ends_as_a_dead_letter(
    new_fleet: Callable[..., Fleet], broker: str, tmp_path: Path
) -> None:
    mark, fleet = tmp_path / "mark", new_fleet(broker, **SHORT_LEASE, ASYNCMCP_MAX_RECEIVES="2")
    async with anyio.create_task_group() as starting:
        starting.start_soon(anyio.to_thread.run_sync, fleet.start_worker)
        on_gpu = partial(fleet.start_worker, Q=f"{fleet.prefix}gpu", concurrency=1)
        for _ in range(3):
            starting.start_soon(anyio.to_thread.run_sync, on_gpu)
    async with fleet.client(timeout=60) as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("kills_its_worker", {"mark": str(mark)})
        assert (caught.value.error.code, (caught.value.error.data or {})["reason"]) == (-32017, "too-many-receives")
    assert mark.read_text().split() == ["try", "try"]
    assert sorted(worker.container.status for worker in fleet.workers) == ["exited", "exited", "running", "running"]
    env = {**fleet.env, "ASYNCMCP_SERVER": fleet.topology.server}
    listed = CliRunner().invoke(app, ["queues", "redrive", "--dry-run"], env=env).output
    assert listed.startswith("1 of 1 would go")
