"""What a client sees when all goes well: on every broker."""

from __future__ import annotations

import time

import anyio
import pytest

from tests.fleet.conftest import Fleet
from tests.services import quick

pytestmark = pytest.mark.anyio


async def test_lists_tools_with_schemas_from_type_hints(fleet: Fleet) -> None:
    async with fleet.client() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert tools["add"].description == "Add two numbers."
    assert tools["add"].input_schema["properties"] == {
        "a": {"title": "A", "type": "integer"},
        "b": {"title": "B", "type": "integer"},
    }
    assert tools["echo_async"].title == "Echo"
    assert tools["echo_async"].description == "Say it again."
    nested = tools["nested"]
    assert nested.input_schema["$defs"]["Inner"]["properties"]["n"]["type"] == "integer"
    assert nested.output_schema is not None
    assert nested.output_schema["properties"]["inners"]["type"] == "array"


async def test_context_and_self_are_hidden_from_the_schema(fleet: Fleet) -> None:
    async with fleet.client() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools["progress"].input_schema["properties"]) == ["steps"]
    assert list(tools["bound"].input_schema["properties"]) == ["n"]


async def test_calls_sync_async_nested_and_wrapped_tools(fleet: Fleet) -> None:
    async with fleet.client() as client:
        assert (await client.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}
        assert (await client.call_tool("echo_async", {"text": "hé ✓"})).structured_content == {"result": "hé ✓"}
        outer = {"outer": {"inners": [{"n": 1}, {"n": 2}]}}
        assert (await client.call_tool("nested", outer)).structured_content == {"inners": [{"n": 2}, {"n": 4}]}
        product = await client.call_tool("existing.multiply", {"a": 6, "b": 7})
        assert product.structured_content == {"result": 42}


async def test_64_calls_in_flight_each_get_their_own_answer(fleet: Fleet) -> None:
    answers: dict[int, int] = {}

    async def call(n: int) -> None:
        tool, arguments = ("add", {"a": n, "b": 1}) if n % 2 else ("echo_async", {"text": str(n + 1)})
        result = await client.call_tool(tool, arguments)
        answers[n] = int((result.structured_content or {})["result"])

    async with fleet.client() as client, anyio.create_task_group() as tasks:
        for n in range(64):
            tasks.start_soon(call, n)
    assert answers == {n: n + 1 for n in range(64)}


@pytest.mark.parametrize("tool", ["progress", "sync_progress"])
async def test_progress_arrives_in_order_before_the_response(fleet: Fleet, tool: str) -> None:
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async with fleet.client() as client:
        result = await client.call_tool(tool, {"steps": 20}, progress_callback=on_progress)
        assert seen == [float(n) for n in range(1, 21)]
    assert result.structured_content == {"result": "done"}


async def test_two_sessions_in_one_process_do_not_mix_their_answers(fleet: Fleet) -> None:
    async with fleet.client() as one, fleet.client() as two:
        for n in range(5):  # both sessions count their request ids from 1
            a = await one.call_tool("echo_async", {"text": f"one {n}"})
            b = await two.call_tool("echo_async", {"text": f"two {n}"})
            assert (a.structured_content, b.structured_content) == (
                {"result": f"one {n}"},
                {"result": f"two {n}"},
            )


async def test_closing_takes_less_than_a_second(fleet: Fleet) -> None:
    async with fleet.client() as client:
        await client.call_tool("add", {"a": 1, "b": 2})
        began = time.monotonic()
    assert time.monotonic() - began < quick(1.0)
