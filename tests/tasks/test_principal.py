"""A task belongs to whom the broker vouches for as its creator; to others it is unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asyncmcp_kombu.tasks.store import TaskStore
from tests.tasks.conftest import TaskFleet

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def store_of(fleet: TaskFleet) -> TaskStore:
    from celery import Celery

    database = f"{fleet.extra_env['XDG_STATE_HOME']}/asyncmcp-kombu/results.sqlite"
    return TaskStore(Celery("looks", set_as_current=False, backend=f"db+sqlite:///{database}"))


async def test_a_task_of_somebody_else_is_unknown(shared_fleets):
    fleet = shared_fleets("sqs-sqlite")
    store = store_of(fleet)
    async with fleet.wire() as wire:
        task_id = await wire.start("asks")
        await wire.until(task_id, "input_required")
        own = store.read(task_id)
        assert own is not None
        assert own.principal  # SQS says who has sent
        store.write(replace(own, principal="AIDAOTHER:somebody-else"))
        for method in ("tasks/get", "tasks/update", "tasks/cancel"):
            answer = await wire.request(method, {"taskId": task_id, "inputResponses": {}})
            assert answer["error"]["code"] == -32602
        await wire.send("subscriptions/listen", {"notifications": {"taskIds": [task_id]}})
        answer = await wire.next(lambda one: "acknowledged" in one.get("method", ""))
        assert answer["params"]["notifications"]["taskIds"] == []
    async with fleet.client() as client:
        assert (await client.call_tool("never", {"n": 1})).structured_content == {"result": 2}
