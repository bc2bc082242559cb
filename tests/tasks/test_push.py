"""Push: the creator of a task and who listens are told of every change; what gets lost is polled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncmcp_kombu import TasksExtension
from asyncmcp_kombu.task_state import Task
from tests.tasks.conftest import SOON, TaskFleet, Wire, noted

pytestmark = pytest.mark.anyio

SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"


def comparable(task: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in task.items() if key not in ("_meta", "resultType")}


@pytest.mark.parametrize("options", [{}, {"client_id": "teller-7f3a", "replies": "fanout"}], ids=["queue", "fanout"])
async def test_the_creator_is_told_without_asking_when_he_says_so(fleet: TaskFleet, options: Any):
    async with fleet.wire(**options) as wire:
        task_id = await wire.start("steps", {"steps": 2, "pause": 0.2}, push=True)
        assert (await wire.pushed(task_id))["status"] == "working"
        pushed = await wire.pushed(task_id, "completed")
        assert comparable(pushed) == comparable(await wire.get(task_id))
        silent = await wire.start("double", {"n": 1})
        await wire.until(silent)
        assert not [one for one in wire.seen if (one.get("params") or {}).get("taskId") == silent]


async def acknowledged(wire: Wire, task_ids: list[str], **options: Any) -> tuple[int, dict[str, Any]]:
    notifications = {"taskIds": task_ids, "toolsListChanged": True}
    subscription = await wire.send("subscriptions/listen", {"notifications": notifications}, **options)

    def fits(message: dict[str, Any]) -> bool:
        return message.get("method") == "notifications/subscriptions/acknowledged" or "error" in message

    return subscription, await wire.next(fits)


@pytest.mark.parametrize("options", [{}, {"client_id": "hearer-7f3a", "replies": "fanout"}], ids=["queue", "fanout"])
async def test_who_listens_is_told_what_tasks_get_would_say(fleet: TaskFleet, tmp_path: Path, options: Any):
    async with fleet.wire() as creator, fleet.wire(**options) as listener:
        task_id = await creator.start("asks", {"mark": str(tmp_path / "mark")})
        subscription, answer = await acknowledged(listener, [task_id, "unknown"])
        assert answer["params"]["notifications"] == {"taskIds": [task_id], "toolsListChanged": True}
        pushed = await listener.pushed(task_id, "input_required")
        assert pushed["_meta"][SUBSCRIPTION] == subscription
        assert comparable(pushed) == comparable(await creator.get(task_id))
        said = {key: {"action": "accept", "content": {"name": key}} for key in ("first", "last")}
        await creator.request("tasks/update", {"taskId": task_id, "inputResponses": said})
        assert (await listener.pushed(task_id, "working"))["status"] == "working"
        pushed = await listener.pushed(task_id, "completed")
        assert comparable(pushed) == comparable(await creator.get(task_id))
        assert not [one for one in creator.seen if one.get("method") == "notifications/tasks"]


async def test_to_listen_to_tasks_needs_the_extension(fleet: TaskFleet):
    async with fleet.wire() as wire:
        _, answer = await acknowledged(wire, ["any"], declares=False)
        assert answer["error"]["code"] == -32021
        assert answer["error"]["data"] == {
            "requiredCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}
        }


async def test_the_client_hears_every_change_and_polls_little(fleet: TaskFleet):
    heard: list[Task] = []

    async def on_status(task: Task) -> None:
        heard.append(task)

    async with fleet.with_tasks(TasksExtension(on_status)) as (client, _):
        result = await client.call_tool("steps", {"steps": 3, "pause": 1.1})
        assert result.structured_content == {"result": "done"}
    assert [task.status_message for task in heard if task.status == "working"][-1] == "step 3"
    assert heard[-1].status == "completed"


async def test_what_is_not_pushed_is_polled(fleet: TaskFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with fleet.with_tasks() as (client, tasks):

        async def lost(task: Task) -> None:
            return

        monkeypatch.setattr(tasks, "notifications", lambda: ())
        monkeypatch.setattr(tasks._updates, "pushed", lost)
        mark = tmp_path / "mark"
        with anyio.fail_after(SOON):
            handle = await tasks.start(client, "works", {"seconds": 1, "mark": str(mark)})
            await noted(mark, "start")
            assert (await handle.result()).structured_content == {"result": "worked"}


async def test_two_may_wait_for_one_task(fleet: TaskFleet):
    async with fleet.with_tasks() as (client, tasks):
        handle = await tasks.start(client, "steps", {"steps": 2, "pause": 0.5})
        results: list[Any] = []

        async def wait(one: Any) -> None:
            results.append((await one.result()).structured_content)

        with anyio.fail_after(SOON):
            async with anyio.create_task_group() as group:
                group.start_soon(wait, handle)
                group.start_soon(wait, tasks.resume(client, handle.task_id))
        assert results == [{"result": "done"}] * 2
