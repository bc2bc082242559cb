"""The life of a task on the wire: created, looked at, ended; statuses and fields as SEP-2663 says."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.tasks.conftest import TaskFleet, noted

pytestmark = pytest.mark.anyio

HANDLE = {"resultType", "taskId", "status", "createdAt", "lastUpdatedAt", "ttlMs", "pollIntervalMs"}


def moment(text: str) -> datetime:
    parsed = datetime.fromisoformat(text)
    assert parsed.tzinfo is not None
    return parsed


def without_meta(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key != "_meta"}


async def test_a_call_becomes_a_handle_and_then_a_result(fleet: TaskFleet):
    async with fleet.wire() as wire:
        handle = without_meta((await wire.call("double", {"n": 21}))["result"])
        assert set(handle) == HANDLE
        assert handle["resultType"] == "task"
        assert handle["status"] == "working"
        assert handle["ttlMs"] == 86_400_000
        assert handle["pollIntervalMs"] == 200
        task = without_meta(await wire.until(handle["taskId"]))
        assert set(task) == HANDLE | {"result"}
        assert task["resultType"] == "complete"
        assert task["status"] == "completed"
        assert task["result"]["structuredContent"] == {"result": 42}
        assert task["result"]["isError"] is False
        assert task["createdAt"] == handle["createdAt"]
        assert moment(task["createdAt"]) <= moment(task["lastUpdatedAt"])


async def test_progress_becomes_the_status_message(fleet: TaskFleet, tmp_path: Path):
    mark = tmp_path / "mark"
    async with fleet.wire() as wire:
        task_id = await wire.start("steps", {"steps": 3, "pause": 1.2, "mark": str(mark)})
        await noted(mark, "step 2")
        working = await wire.get(task_id)
        assert working["status"] == "working"
        assert working["statusMessage"] in ("step 1", "step 2")
        assert "result" not in working
        task = await wire.until(task_id)
        assert task["result"]["structuredContent"] == {"result": "done"}
        assert not [one for one in wire.seen if one.get("method") == "notifications/progress"]


async def test_progress_of_a_call_that_became_a_task_later_is_told_too(fleet: TaskFleet):
    async with fleet.wire() as wire:
        task_id = await wire.start("slow", {"seconds": 1.5})
        assert (await wire.get(task_id))["statusMessage"] == "half way"
        assert (await wire.until(task_id))["result"]["structuredContent"] == {"result": "slept 1.5"}


async def test_a_tools_own_error_is_a_completed_task(fleet: TaskFleet):
    async with fleet.wire() as wire:
        task = await wire.until(await wire.start("boom"))
        assert task["status"] == "completed"
        assert task["result"]["isError"] is True
        assert "boom" in task["result"]["content"][0]["text"]
        assert "error" not in task


async def test_an_error_of_the_protocol_is_a_failed_task(fleet: TaskFleet):
    async with fleet.wire() as wire:
        task = await wire.until(await wire.start("protocol_error"))
        assert task["status"] == "failed"
        assert task["error"]["code"] == -32050
        assert task["error"]["message"] == "no such thing"
        assert "no such thing" in task["statusMessage"]
        assert "result" not in task


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_an_unknown_id_is_invalid(fleet: TaskFleet, method: str):
    async with fleet.wire() as wire:
        params = {"taskId": "786512e2-9e0d-44bd-8f29-789f320fe840", "inputResponses": {}}
        assert (await wire.request(method, params))["error"]["code"] == -32602
        assert (await wire.request(method, {}))["error"]["code"] == -32602


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_a_client_that_does_not_declare_the_extension_may_not_use_its_methods(fleet: TaskFleet, method: str):
    async with fleet.wire() as wire:
        task_id = await wire.start("double", {"n": 1})
        answer = await wire.request(method, {"taskId": task_id, "inputResponses": {}}, declares=False)
        assert answer["error"]["code"] == -32021
        assert answer["error"]["data"]["requiredCapabilities"] == {"extensions": {"io.modelcontextprotocol/tasks": {}}}


@pytest.mark.parametrize("method", ["tasks/list", "tasks/result"])
async def test_methods_of_the_older_draft_do_not_exist(fleet: TaskFleet, method: str):
    async with fleet.wire() as wire:
        task_id = await wire.start("double", {"n": 1})
        assert (await wire.request(method, {"taskId": task_id}))["error"]["code"] == -32601


async def test_an_acknowledgement_is_an_empty_complete_result(fleet: TaskFleet):
    async with fleet.wire() as wire:
        task_id = await wire.start("double", {"n": 1})
        await wire.until(task_id)
        for method in ("tasks/update", "tasks/cancel"):
            answer = await wire.request(method, {"taskId": task_id, "inputResponses": {"no": {"action": "cancel"}}})
            assert without_meta(answer["result"]) == {"resultType": "complete"}
        assert (await wire.get(task_id))["status"] == "completed"  # a task that has ended stays as it is


async def test_the_parameter_of_the_older_draft_is_ignored(fleet: TaskFleet):
    async with fleet.wire() as wire:
        for declares in (True, False):
            params = {"name": "never", "arguments": {"n": 1}, "task": {"ttl": 60_000}}
            answer = await wire.request("tools/call", params, declares=declares)
            assert answer["result"]["structuredContent"] == {"result": 2}
        params = {"name": "double", "arguments": {"n": 1}, "task": {"ttl": 1}}
        handle = (await wire.request("tools/call", params))["result"]
        assert handle["ttlMs"] == 86_400_000


async def test_ids_cannot_be_guessed(fleet: TaskFleet):
    async with fleet.wire() as wire:
        ids = [await wire.start("double", {"n": 1}) for _ in range(4)]
        assert len(set(ids)) == 4
        assert all(len(task_id) >= 32 for task_id in ids)
        assert not any(first[:8] == second[:8] for first in ids for second in ids if first != second)


async def test_a_task_is_forgotten_when_its_time_is_over(fleet: TaskFleet):
    async with fleet.wire() as wire:
        handle = (await wire.call("brief"))["result"]
        assert handle["ttlMs"] == 1_000
        answer: dict[str, Any] = {"result": {}}
        while "result" in answer:  # bounded by the ttl
            answer = await wire.request("tasks/get", {"taskId": handle["taskId"]})
        assert answer["error"]["code"] == -32602
        assert "expired" in answer["error"]["message"]


async def test_the_server_says_that_it_knows_tasks(fleet: TaskFleet):
    async with fleet.wire() as wire:
        capabilities = (await wire.request("server/discover"))["result"]["capabilities"]
        assert "io.modelcontextprotocol/tasks" in capabilities["extensions"]
