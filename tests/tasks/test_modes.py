"""`task=` of a tool and what its client declares: who gets a task, who gets a result, who is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from mcp.shared.exceptions import MCPError

from tests.tasks.conftest import NewFleet, TaskFleet

pytestmark = pytest.mark.anyio

REQUIRED = {"requiredCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}}


async def test_a_required_task_is_refused_to_a_client_that_does_not_know_tasks(fleet: TaskFleet):
    async with fleet.wire() as wire:
        answer = await wire.call("steps", {"steps": 1}, declares=False)
        assert answer["error"]["code"] == -32021
        assert answer["error"]["data"] == REQUIRED
    async with fleet.client(mode="legacy") as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("steps", {"steps": 1})
        assert caught.value.error.code == -32021


async def test_an_optional_task_is_a_plain_call_to_a_client_that_does_not_know_tasks(fleet: TaskFleet):
    async with fleet.wire() as wire:
        result = (await wire.call("double", {"n": 4}, declares=False))["result"]
        assert result["resultType"] == "complete"
        assert result["structuredContent"] == {"result": 8}
    async with fleet.client(mode="legacy") as client:
        assert (await client.call_tool("double", {"n": 4})).structured_content == {"result": 8}


async def test_a_tool_that_says_nothing_never_becomes_a_task(fleet: TaskFleet):
    async with fleet.wire() as wire:
        assert (await wire.call("never", {"n": 1}))["result"]["resultType"] == "complete"


async def test_an_auto_tool_answers_inline_within_its_budget_and_is_a_task_beyond(fleet: TaskFleet, tmp_path: Path):
    mark = tmp_path / "mark"
    async with fleet.wire() as wire:
        quick = (await wire.call("slow", {"seconds": 0, "mark": str(mark)}))["result"]
        assert quick["resultType"] == "complete"
        assert quick["structuredContent"] == {"result": "slept 0.0"}
        handle = (await wire.call("slow", {"seconds": 1.5, "mark": str(mark)}))["result"]
        assert handle["resultType"] == "task"
        task = await wire.until(handle["taskId"])
        assert task["result"]["structuredContent"] == {"result": "slept 1.5"}
    assert mark.read_text().count("start") == 2  # the call that became a task was not started again


async def test_arguments_that_do_not_fit_make_no_task(fleet: TaskFleet):
    async with fleet.wire() as wire:
        for tool in ("double", "steps"):
            result = (await wire.call(tool, {"n": "x", "steps": "x"}))["result"]
            assert result["resultType"] == "complete"
            assert result["isError"] is True


async def test_a_client_that_does_not_know_tasks_may_be_made_to_wait(new_fleet: NewFleet):
    fleet = new_fleet("redis-redis", "threads", ASYNCMCP_TASK_FALLBACK="wait")
    fleet.start_worker(concurrency=4)
    async with fleet.client() as client:
        assert "task_result" not in {tool.name for tool in (await client.list_tools()).tools}
        result = await client.call_tool("slow", {"seconds": 1.5})
        assert result.structured_content == {"result": "slept 1.5"}
