"""Survival: durable before the handle is sent; killed workers, restarted fleets, killed clients; how retries end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from typer.testing import CliRunner

from asyncmcp_kombu.cli.main import app
from tests.services import cleanup_queues
from tests.tasks.conftest import BACKENDS, SHORT_LEASE, SOON, NewFleet, TaskFleet, noted

pytestmark = pytest.mark.anyio

LONG = 40.0


@pytest.mark.parametrize("where", BACKENDS)
async def test_the_handle_comes_quickly_while_every_worker_for_jobs_is_busy(
    new_fleet: NewFleet, where: str, tmp_path: Path
):
    fleet, mark = new_fleet(where), tmp_path / "mark"
    fleet.launch_worker(concurrency=1, Q=fleet.topology.requests)
    fleet.start_worker(concurrency=1, Q=fleet.topology.jobs)
    fleet.workers[0].container.ready()
    async with fleet.wire() as wire:
        busy = await wire.start("works", {"seconds": 8, "mark": str(mark)})
        await noted(mark, "start")
        with anyio.fail_after(4):
            waiting = [await wire.start("works", {"seconds": 0, "mark": str(tmp_path / "no")}) for _ in range(4)]
            assert {(await wire.get(task_id))["status"] for task_id in [busy, *waiting]} == {"working"}
        assert not (tmp_path / "no").exists()
        assert "end" not in mark.read_text()


@pytest.mark.parametrize("where", BACKENDS)
async def test_a_task_whose_admitting_worker_is_killed_right_after_the_handle_completes(
    new_fleet: NewFleet, where: str, tmp_path: Path
):
    fleet = new_fleet(where, **SHORT_LEASE)
    admitting = fleet.start_worker(concurrency=1, Q=fleet.topology.requests).container
    async with fleet.wire() as wire:
        task_id = await wire.start("works", {"seconds": 0, "mark": str(tmp_path / "mark")})
        await anyio.to_thread.run_sync(admitting.kill)
        await anyio.to_thread.run_sync(lambda: fleet.start_worker(concurrency=2))
        task = await wire.until(task_id, timeout=LONG)
        assert task["result"]["structuredContent"] == {"result": "worked"}


EITHER = [pytest.param("works", marks=pytest.mark.exhaustive), "slow"]
"""A task from the start, and one that its call became."""


@pytest.mark.parametrize("tool", EITHER)
@pytest.mark.parametrize("where", BACKENDS)
async def test_a_task_whose_worker_is_killed_runs_again_elsewhere(
    new_fleet: NewFleet, where: str, tool: str, tmp_path: Path
):
    """`slow` is `auto`: its call became a task while it ran."""
    fleet, mark = new_fleet(where, **SHORT_LEASE), tmp_path / "mark"
    first = fleet.start_worker(concurrency=2).container
    async with fleet.wire() as wire:
        task_id = await wire.start(tool, {"seconds": 3, "mark": str(mark)})
        await noted(mark, "start")
        await anyio.to_thread.run_sync(first.kill)
        await anyio.to_thread.run_sync(lambda: fleet.start_worker(concurrency=2))
        task = await wire.until(task_id, timeout=LONG)
        assert task["status"] == "completed"
        assert task["result"]["isError"] is False
    assert mark.read_text().count("start") >= 2  # a machine too busy to renew a lease of 3 s runs it once more
    assert mark.read_text().count("end") >= 1


@pytest.mark.parametrize("tool", EITHER)
@pytest.mark.parametrize("where", BACKENDS)
async def test_a_task_outlives_the_deadline_of_its_call(new_fleet: NewFleet, where: str, tool: str, tmp_path: Path):
    """Its call is delivered again when nobody waits for that any more; the task goes on."""
    fleet, mark, deadline = new_fleet(where, **SHORT_LEASE), tmp_path / "mark", 4.0
    first = fleet.start_worker(concurrency=2).container
    async with fleet.with_tasks(timeout=deadline) as (client, tasks):
        task_id = (await tasks.start(client, tool, {"seconds": 2, "mark": str(mark)})).task_id
        started_at = anyio.current_time()
        await noted(mark, "start")
        await anyio.to_thread.run_sync(first.kill)
    await anyio.sleep(max(0.0, started_at + deadline - anyio.current_time()))
    await anyio.to_thread.run_sync(lambda: fleet.start_worker(concurrency=2))
    async with fleet.wire() as wire:
        task = await wire.until(task_id, timeout=LONG)
        assert task["status"] == "completed", task


@pytest.mark.parametrize("where", BACKENDS)
async def test_a_task_that_kills_every_worker_failed(new_fleet: NewFleet, where: str, tmp_path: Path):
    """In place: its call is what is delivered again, until it is refused."""
    mark = tmp_path / "mark"
    fleet = new_fleet(where, **SHORT_LEASE, ASYNCMCP_MAX_RECEIVES="2")
    async with fleet.wire() as wire:
        worker = fleet.start_worker(concurrency=1).container
        task_id = await wire.start("kills_its_worker", {"mark": str(mark)})
        for tries in (2, 3):
            await anyio.to_thread.run_sync(worker.wait)
            worker = (await anyio.to_thread.run_sync(lambda: fleet.start_worker(concurrency=1))).container
            if tries == 2:
                await noted(mark, "try 2")
        task = await wire.until(task_id, timeout=LONG)
        assert task["error"]["data"]["reason"] == "too-many-receives"
    assert mark.read_text().splitlines() == ["try 1", "try 2"]


@pytest.mark.parametrize("where", ["sqs-sqlite", "redis-redis"])
async def test_a_task_that_kills_every_worker_for_jobs_failed(new_fleet: NewFleet, where: str, tmp_path: Path):
    """Its job is what is delivered again; RabbitMQ does not count how often."""
    mark = tmp_path / "mark"
    fleet = new_fleet(where, **SHORT_LEASE, ASYNCMCP_MAX_RECEIVES="2")
    await anyio.to_thread.run_sync(lambda: fleet.start_worker(concurrency=1, Q=fleet.topology.requests))

    def start() -> Any:
        return fleet.start_worker(concurrency=1, Q=fleet.topology.jobs).container

    worker = await anyio.to_thread.run_sync(start)
    async with fleet.wire() as wire:
        task_id = await wire.start("kills_its_worker", {"mark": str(mark)})
        for _ in range(2):
            await anyio.to_thread.run_sync(worker.wait)
            worker = await anyio.to_thread.run_sync(start)
        task = await wire.until(task_id, timeout=LONG)
        assert task["error"]["data"]["reason"] == "too-many-receives"
        assert "dead-letter queue" in task["error"]["message"]
    assert mark.read_text().splitlines() == ["try 1", "try 2"]
    env = {**fleet.env, "ASYNCMCP_SERVER": fleet.topology.server}
    listed = CliRunner().invoke(app, ["queues", "redrive", "--dry-run"], env=env).output
    assert listed.startswith("1 of 1 would go")


async def test_where_a_slot_is_free_the_call_is_the_job_and_no_second_message_is_sent(new_fleet: NewFleet):
    fleet = new_fleet("redis-redis")
    log = fleet.start_worker(concurrency=2).container.logs
    async with fleet.wire() as wire:
        assert (await wire.until(await wire.start("double", {"n": 2})))["status"] == "completed"
    assert sum("Task double[" in line for line in log().splitlines() if " received: " in line) == 1


@pytest.mark.parametrize("where", BACKENDS)
async def test_a_task_is_known_after_every_worker_was_restarted(new_fleet: NewFleet, where: str):
    fleet = new_fleet(where)
    fleet.start_worker(concurrency=2)
    async with fleet.wire() as wire:
        task_id = await wire.start("double", {"n": 2})
        before = await wire.until(task_id)
        await anyio.to_thread.run_sync(lambda: fleet.replace_workers(concurrency=1))
        assert await wire.get(task_id) == before


async def test_the_transparent_call_waits_while_the_fleet_is_restarted(new_fleet: NewFleet, tmp_path: Path):
    fleet, mark = new_fleet("redis-redis", **SHORT_LEASE), tmp_path / "mark"
    fleet.start_worker(concurrency=1)
    results: list[object] = []
    async with fleet.with_tasks() as (client, _):
        with anyio.fail_after(LONG):
            async with anyio.create_task_group() as group:

                async def call() -> None:
                    result = await client.call_tool("works", {"seconds": 2, "mark": str(mark)})
                    results.append(result.structured_content)

                group.start_soon(call)
                await noted(mark, "start")
                await anyio.to_thread.run_sync(fleet.workers[0].container.kill)
                await anyio.to_thread.run_sync(lambda: fleet.start_worker(concurrency=1))
    assert results == [{"result": "worked"}]


CLIENT = """
import anyio, os, signal, sys
from mcp import Client
from asyncmcp_kombu import TasksExtension, kombu_client

async def main():
    tasks = TasksExtension()
    async with Client(kombu_client(server="testfleet"), extensions=[tasks], read_timeout_seconds=20) as client:
        if sys.argv[1] == "start":
            handle = await tasks.start(client, "works", {"seconds": 1, "mark": sys.argv[2]})
            print(handle.task_id, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        result = await tasks.resume(client, sys.argv[2]).result()
        print(result.structured_content["result"], flush=True)

anyio.run(main)
"""


async def test_a_new_process_resumes_the_task_of_a_killed_client(fleet: TaskFleet, tmp_path: Path):
    def run(*args: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, *args],
            env={**os.environ, **fleet.env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout.strip()

    code, task_id = await anyio.to_thread.run_sync(lambda: run("start", str(tmp_path / "mark")))
    assert (code, len(task_id) > 30) == (-9, True)
    assert await anyio.to_thread.run_sync(lambda: run("resume", task_id)) == (0, "worked")
    cleanup_queues(fleet.broker_url, f"{fleet.prefix}testfleet-reply", replies=True)


async def test_a_task_whose_retries_are_used_up_failed(fleet: TaskFleet, tmp_path: Path):
    mark = tmp_path / "mark"
    async with fleet.wire() as wire:
        task = await wire.until(await wire.start("retries", {"mark": str(mark)}))
        assert task["status"] == "failed"
        assert task["error"]["data"]["reason"] == "retries-exhausted"
        assert "3 tries" in task["statusMessage"]
    assert mark.read_text().count("try") == 3


async def test_a_task_that_succeeds_on_a_later_try_completed(fleet: TaskFleet, tmp_path: Path):
    async with fleet.wire() as wire:
        task_id = await wire.start("retries", {"mark": str(tmp_path / "one"), "succeed_at": 3})
        assert (await wire.until(task_id))["result"]["structuredContent"] == {"result": "made it"}
        task_id = await wire.start("auto_retries", {"mark": str(tmp_path / "two")})
        task = await wire.until(task_id)
        assert task["result"]["structuredContent"] == {"result": "made it"}


async def test_a_task_that_ends_its_process_each_time_failed(fleet: TaskFleet, tmp_path: Path):
    async with fleet.wire() as wire:
        task = await wire.until(await wire.start("dies", {"mark": str(tmp_path / "mark")}), timeout=60)
        assert task["status"] == "failed"
        assert task["error"]["data"]["reason"] == "worker-lost"


async def test_processes_that_replace_lost_ones_serve_tasks(new_fleet: NewFleet, tmp_path: Path):
    """The worker's main process keeps that a task failed, and forks: threads that it used are not in its children."""
    fleet = new_fleet("redis-redis")
    fleet.start_worker(concurrency=1)
    async with fleet.wire() as wire:
        for n in range(2):
            await wire.until(await wire.start("dies", {"mark": str(tmp_path / f"mark{n}")}), timeout=LONG)
        assert (await wire.until(await wire.start("double", {"n": 1})))["status"] == "completed"


async def test_a_task_that_runs_into_its_time_limit_failed(fleet: TaskFleet):
    async with fleet.wire() as wire:
        task = await wire.until(await wire.start("hangs"), timeout=SOON)
        assert task["status"] == "failed"
        assert task["error"]["data"]["reason"] == "time-limit"
