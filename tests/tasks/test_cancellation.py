"""Cancellation: what waits never starts, what runs stops, and the task ends as cancelled, polled or pushed."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest
from mcp_types import ElicitResult

from asyncmcp_kombu.errors import TaskFailed
from tests.tasks.conftest import SOON, NewFleet, TaskFleet, Wire, noted

pytestmark = pytest.mark.anyio


async def cancel(wire: Wire, task_id: str) -> None:
    assert (await wire.request("tasks/cancel", {"taskId": task_id}))["result"]["resultType"] == "complete"


@pytest.mark.parametrize("tool", ["waits", "polls"])
async def test_a_running_tool_stops(fleet: TaskFleet, tmp_path: Path, tool: str):
    mark = tmp_path / "mark"
    async with fleet.wire() as wire:
        task_id = await wire.start(tool, {"mark": str(mark)}, push=True)
        await noted(mark, "start")
        await cancel(wire, task_id)
        assert "Cancelled" in await noted(mark, "stopped by")
        assert (await wire.until(task_id))["status"] == "cancelled"
        assert (await wire.pushed(task_id, "cancelled"))["status"] == "cancelled"
        assert (await wire.call("double", {"n": 1}, declares=False))["result"]["structuredContent"] == {"result": 2}


async def test_a_call_that_became_a_task_stops(fleet: TaskFleet, tmp_path: Path):
    mark = tmp_path / "mark"
    async with fleet.wire() as wire:
        task_id = await wire.start("slow", {"seconds": 3, "mark": str(mark)})
        await cancel(wire, task_id)
        assert (await wire.until(task_id))["status"] == "cancelled"
        await wire.call("double", {"n": 1}, declares=False)
    assert "end" not in mark.read_text()


@pytest.mark.parametrize("where", ["sqs-sqlite", "redis-redis"])
async def test_a_queued_task_never_starts_and_its_creator_is_told(new_fleet: NewFleet, where: str, tmp_path: Path):
    fleet, first, second = new_fleet(where), tmp_path / "first", tmp_path / "second"
    fleet.start_worker(concurrency=1, Q=fleet.topology.requests)
    async with fleet.wire() as wire:
        task_id = await wire.start("works", {"seconds": 0, "mark": str(second)}, push=True)
        await cancel(wire, task_id)
        assert (await wire.get(task_id))["status"] == "cancelled"
        assert (await wire.pushed(task_id))["status"] == "cancelled"
        later = await wire.start("works", {"seconds": 0, "mark": str(first)})
        # A worker that has heard of no cancellation takes both.
        await anyio.to_thread.run_sync(lambda: fleet.start_worker(concurrency=1, Q=fleet.topology.jobs))
        await wire.until(later)
        assert (await wire.get(task_id))["status"] == "cancelled"
    assert not second.exists()


async def test_a_tool_that_does_not_look_runs_on_and_its_task_stays_cancelled(fleet: TaskFleet, tmp_path: Path):
    mark, go_on = tmp_path / "mark", tmp_path / "go"
    async with fleet.wire() as wire:
        task_id = await wire.start("deaf", {"mark": str(mark), "go_on": str(go_on)}, push=True)
        await noted(mark, "start")
        await cancel(wire, task_id)
        assert (await wire.get(task_id))["status"] == "cancelled"
        go_on.touch()
        await noted(mark, "end")
        await wire.call("double", {"n": 1}, declares=False)
        assert (await wire.get(task_id))["status"] == "cancelled"
        pushed = [one["params"] for one in wire.seen if one.get("method") == "notifications/tasks"]
        assert {one["status"] for one in pushed if one["taskId"] == task_id} == {"cancelled"}


async def test_a_tool_that_may_be_ended_is_ended(fleet: TaskFleet, tmp_path: Path):
    mark = tmp_path / "mark"
    async with fleet.wire() as wire:
        task_id = await wire.start("stubborn", {"mark": str(mark)})
        child = int((await noted(mark, "start")).split()[1])
        await cancel(wire, task_id)
        with anyio.fail_after(SOON):
            while alive(child):
                await anyio.sleep(0.05)
        assert (await wire.get(task_id))["status"] == "cancelled"
        assert (await wire.call("double", {"n": 1}, declares=False))["result"]["structuredContent"] == {"result": 2}
    assert "end" not in mark.read_text()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_task_that_asks_is_cancelled_and_not_continued(fleet: TaskFleet, tmp_path: Path):
    mark = tmp_path / "mark"
    async with fleet.wire() as wire:
        task_id = await wire.start("asks", {"mark": str(mark)})
        await wire.until(task_id, "input_required")
        await cancel(wire, task_id)
        task = await wire.get(task_id)
        assert task["status"] == "cancelled"
        assert "inputRequests" not in task
        answer = ElicitResult(action="accept", content={"name": "Ada"}).model_dump(by_alias=True, mode="json")
        await wire.request("tasks/update", {"taskId": task_id, "inputResponses": {"first": answer, "last": answer}})
        assert (await wire.get(task_id))["status"] == "cancelled"
        await wire.until(await wire.start("double", {"n": 1}))
    assert mark.read_text().count("entered") == 1


async def test_the_handle_cancels_and_the_transparent_call_does_when_it_is_cancelled(fleet: TaskFleet, tmp_path: Path):
    mark, other = tmp_path / "mark", tmp_path / "other"
    async with fleet.with_tasks() as (client, tasks):
        handle = await tasks.start(client, "waits", {"mark": str(mark)})
        await noted(mark, "start")
        await handle.cancel()
        with pytest.raises(TaskFailed) as caught:
            await handle.result()
        assert caught.value.task.status == "cancelled"
        await noted(mark, "stopped")
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "waits", {"mark": str(other)})
            await noted(other, "start")
            group.cancel_scope.cancel()
        await noted(other, "stopped")
