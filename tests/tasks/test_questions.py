"""Questions while working: the SDK's own idioms, asked by a task; its worker is freed meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp_types import ElicitResult

from tests.tasks.conftest import NewFleet, TaskFleet

pytestmark = pytest.mark.anyio


def says(name: str) -> dict[str, Any]:
    return {"action": "accept", "content": {"name": name}}


async def test_a_question_partial_answers_and_the_rest(fleet: TaskFleet, tmp_path: Path):
    async with fleet.wire() as wire:
        task_id = await wire.start("asks", {"mark": str(tmp_path / "mark")})
        task = await wire.until(task_id, "input_required")
        assert set(task["inputRequests"]) == {"first", "last"}
        assert task["inputRequests"]["first"]["method"] == "elicitation/create"
        assert task["inputRequests"]["first"]["params"]["message"] == "first name?"
        assert "requestState" not in task
        assert not {"result", "error"} & set(task)
        update = {"taskId": task_id, "inputResponses": {"first": says("Ada"), "never asked": says("X")}}
        assert (await wire.request("tasks/update", update))["result"]["resultType"] == "complete"
        task = await wire.get(task_id)
        assert task["status"] == "input_required"
        assert set(task["inputRequests"]) == {"last"}
        update = {"taskId": task_id, "inputResponses": {"first": says("Eve"), "last": says("Lovelace")}}
        await wire.request("tasks/update", update)
        task = await wire.until(task_id)
        assert task["result"]["structuredContent"] == {"result": "Ada Lovelace, asked once"}
        assert "inputRequests" not in task
    assert (tmp_path / "mark").read_text().count("entered") == 2


async def test_the_keys_of_a_task_are_unique_over_its_life(fleet: TaskFleet):
    async with fleet.wire() as wire:
        task_id = await wire.start("asks_again")
        first = (await wire.until(task_id, "input_required"))["inputRequests"]
        (key,) = first
        await wire.request("tasks/update", {"taskId": task_id, "inputResponses": {key: says("Ada")}})
        while key in (second := (await wire.until(task_id, "input_required"))["inputRequests"]):
            await anyio.sleep(0.05)
        (other,) = second
        assert second[other]["params"]["message"] == "name 2?"
        # an answer to the old question is not taken for one to the new
        await wire.request("tasks/update", {"taskId": task_id, "inputResponses": {key: says("Eve")}})
        assert (await wire.get(task_id))["status"] == "input_required"
        await wire.request("tasks/update", {"taskId": task_id, "inputResponses": {other: says("Bob")}})
        assert (await wire.until(task_id))["result"]["structuredContent"] == {"result": "Ada and Bob"}


async def test_a_call_that_became_a_task_may_ask(fleet: TaskFleet):
    async with fleet.wire() as wire:
        task_id = await wire.start("slow_asks", {"seconds": 1})
        await wire.until(task_id, "input_required")
        await wire.request("tasks/update", {"taskId": task_id, "inputResponses": {"name": says("Ada")}})
        assert (await wire.until(task_id))["result"]["structuredContent"] == {"result": "Ada"}


@pytest.mark.parametrize("where", ["sqs-sqlite", "redis-redis"])
async def test_a_question_outlives_every_worker(new_fleet: NewFleet, where: str, tmp_path: Path):
    fleet, mark = new_fleet(where), tmp_path / "mark"
    fleet.start_worker(concurrency=1)
    async with fleet.wire() as wire:
        task_id = await wire.start("asks", {"mark": str(mark)})
        await wire.until(task_id, "input_required")
        await wire.request("tasks/update", {"taskId": task_id, "inputResponses": {"first": says("Ada")}})
        await anyio.to_thread.run_sync(lambda: fleet.replace_workers(concurrency=1))
        assert set((await wire.get(task_id))["inputRequests"]) == {"last"}
        await wire.request("tasks/update", {"taskId": task_id, "inputResponses": {"last": says("Lovelace")}})
        task = await wire.until(task_id)
        assert task["result"]["structuredContent"] == {"result": "Ada Lovelace, asked once"}
    first, second = mark.read_text().splitlines()
    assert first != second  # by another process


async def test_a_resolver_asks_before_there_is_a_task(fleet: TaskFleet, tmp_path: Path):
    mark = tmp_path / "mark"
    async with fleet.wire() as wire:
        asked = (await wire.call("resolved", {"mark": str(mark)}))["result"]
        assert asked["resultType"] == "input_required"
        assert "taskId" not in asked
        assert not mark.exists()
        (key,) = asked["inputRequests"]
        answer = {
            "name": "resolved",
            "arguments": {"mark": str(mark)},
            "inputResponses": {key: says("Ada")},
            "requestState": asked["requestState"],
        }
        handle = (await wire.request("tools/call", answer))["result"]
        assert handle["resultType"] == "task"
        assert (await wire.until(handle["taskId"]))["result"]["structuredContent"] == {"result": "for Ada"}
    assert mark.read_text().count("entered") == 1


async def test_the_idiom_of_older_versions_is_told_the_one_to_use(fleet: TaskFleet):
    async with fleet.wire() as wire:
        task = await wire.until(await wire.start("elicits"))
        told = str(task.get("error") or task["result"])
        assert "InputRequiredResult" in told
        assert "input_responses" in told


async def test_the_clients_callbacks_answer_a_task(fleet: TaskFleet, tmp_path: Path):
    asked: list[str] = []

    async def elicit(context: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"name": params.message.split()[0]})

    async with fleet.with_tasks(elicitation_callback=elicit) as (client, tasks):
        result = await client.call_tool("asks", {})
        assert result.structured_content == {"result": "first last, asked once"}
        result = await client.call_tool("resolved", {})
        assert result.structured_content == {"result": "for whose?"}
        handle = await tasks.start(client, "resolved", {})
        assert (await handle.result()).structured_content == {"result": "for whose?"}
        assert (await client.call_tool("asks_again", {})).structured_content == {"result": "name and name"}
    assert sorted(asked[:2]) == ["first name?", "last name?"]  # each once
    assert len(asked) == 6
