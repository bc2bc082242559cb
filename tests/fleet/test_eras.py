"""Both eras on the fleet: sessions that any worker knows, questions to the client, rounds that change workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from mcp_types import (
    CreateMessageResult,
    ElicitResult,
    ListRootsResult,
    Root,
    TextContent,
)

from tests.fleet.conftest import Fleet

pytestmark = pytest.mark.anyio

SOON = 20.0


async def elicit(context: Any, params: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={"name": "Ada"})


async def sample(context: Any, params: Any) -> CreateMessageResult:
    return CreateMessageResult(role="assistant", content=TextContent(type="text", text="hi"), model="m")


async def roots(context: Any) -> ListRootsResult:
    return ListRootsResult(roots=[Root(uri="file:///home")])


CALLBACKS = {"elicitation_callback": elicit, "sampling_callback": sample, "list_roots_callback": roots}


@pytest.mark.parametrize("tool", ["asks", "sync_asks"])
async def test_a_tool_asks_the_client_and_the_answer_reaches_the_process_that_waits(fleet: Fleet, tool: str):
    async with fleet.client(mode="legacy", **CALLBACKS) as client:
        answers: list[str] = []

        async def call() -> None:
            result = await client.call_tool(tool, {})
            assert isinstance(result.content[0], TextContent)
            answers.append(result.content[0].text)

        with anyio.fail_after(SOON):
            async with anyio.create_task_group() as tasks:
                for _ in range(4):  # on several processes at once
                    tasks.start_soon(call)
    assert answers == ["Ada file:///home hi" if tool == "asks" else "Ada"] * 4


@pytest.mark.parametrize("broker", ["sqs", "redis"])
async def test_a_client_survives_the_restart_of_every_worker(new_fleet: Callable[..., Fleet], broker: str):
    fleet = new_fleet(broker)
    fleet.start_worker(concurrency=1)
    async with fleet.client(mode="legacy", **CALLBACKS) as old, fleet.client(elicitation_callback=elicit) as new:
        for client in (old, new):
            assert (await client.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}
        fleet.worker.begin_to_terminate()
        fleet.worker.teardown()
        fleet.start_worker(concurrency=1)
        for client in (old, new):
            assert (await client.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}
        result = await old.call_tool("sync_asks", {})
        assert result.structured_content == {"result": "Ada"}


async def test_a_round_continues_on_another_worker(new_fleet: Callable[..., Fleet]):
    fleet = new_fleet("redis")
    fleet.start_worker(concurrency=1)
    first = fleet.worker

    async def change_workers(context: Any, params: Any) -> ElicitResult:
        def change() -> None:
            first.begin_to_terminate()
            first.teardown()
            fleet.start_worker(concurrency=1)

        await anyio.to_thread.run_sync(change)
        return ElicitResult(action="accept", content={"name": "Ada"})

    async with fleet.client(elicitation_callback=change_workers) as client:
        result = await client.call_tool("rounds", {})
        assert isinstance(result.content[0], TextContent)
        name, asked, answered = result.content[0].text.split(", ")
    assert name == "Ada"
    assert asked.removeprefix("asked by ") != answered.removeprefix("answered by ")


async def test_what_any_worker_publishes_reaches_every_listening_client(new_fleet: Callable[..., Fleet], fleet: Fleet):
    uris = [f"note://{n}" for n in range(4)]
    async with fleet.client() as one, fleet.client() as two, fleet.client() as deaf:
        async with (
            one.listen(tools_list_changed=True, resource_subscriptions=uris) as first,
            two.listen(resource_subscriptions=uris[:2]) as second,
        ):
            with anyio.fail_after(SOON):
                async with anyio.create_task_group() as tasks:
                    for uri in uris:
                        tasks.start_soon(deaf.call_tool, "publishes", {"uri": uri})
                heard_first = {str(await anext(first)) for _ in range(5)}
                heard_second = {str(await anext(second)) for _ in range(2)}
    assert {uri for uri in uris if any(uri in text for text in heard_first)} == set(uris)
    assert {uri for uri in uris if any(uri in text for text in heard_second)} == set(uris[:2])


async def test_a_subscription_occupies_no_worker_and_outlives_the_one_that_acknowledged_it(
    new_fleet: Callable[..., Fleet],
):
    fleet = new_fleet("redis")
    fleet.start_worker(concurrency=1)
    async with fleet.client() as client, client.listen(tools_list_changed=True) as events:
        fleet.worker.begin_to_terminate()
        fleet.worker.teardown()
        fleet.start_worker(concurrency=1)
        with anyio.fail_after(SOON):
            await client.call_tool("publishes", {"uri": "note://x"})
            assert type(await anext(events)).__name__ == "ToolsListChanged"
