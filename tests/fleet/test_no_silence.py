"""No silence: whatever happens to a call, its caller gets a proper answer within seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult

from asyncmcp_kombu.errors import MessageTooLarge
from tests.fleet.conftest import Fleet

pytestmark = pytest.mark.anyio


async def call(fleet: Fleet, tool: str, **arguments: Any) -> CallToolResult:
    async with fleet.client() as client:
        return await client.call_tool(tool, arguments)


async def error_of(fleet: Fleet, tool: str, **arguments: Any) -> tuple[int, str]:
    """Code and reason of the JSON-RPC error that the call ends with."""
    async with fleet.client() as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool(tool, arguments)
    return caught.value.error.code, (caught.value.error.data or {}).get("reason", "")


def text_of(result: CallToolResult) -> str:
    return result.content[0].text  # type: ignore[union-attr]


async def test_an_unknown_tool_is_named(fleet: Fleet) -> None:
    result = await call(fleet, "no_such_tool")
    assert result.is_error
    assert "no_such_tool" in text_of(result)


async def test_bad_arguments_are_explained(fleet: Fleet) -> None:
    result = await call(fleet, "add", a="x", b=2)
    assert result.is_error
    assert "valid integer" in text_of(result)


async def test_a_tool_that_crashes_is_an_error_without_its_secrets(fleet: Fleet) -> None:
    result = await call(fleet, "fails", text="s3cret")
    assert result.is_error
    assert "s3cret" not in text_of(result)


async def test_a_tool_that_fails_deliberately_says_why(fleet: Fleet) -> None:
    result = await call(fleet, "refuses", text="because of the weather")
    assert result.is_error
    assert "because of the weather" in text_of(result)


async def test_a_protocol_error_keeps_its_code_and_data(fleet: Fleet) -> None:
    async with fleet.client() as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("protocol_error", {})
    assert (caught.value.error.code, caught.value.error.data) == (-32007, {"why": "weekend"})


async def test_a_tool_that_exits_is_an_error_and_its_process_goes_on(fleet: Fleet) -> None:
    assert (await call(fleet, "exits")).is_error
    assert (await call(fleet, "add", a=1, b=1)).structured_content == {"result": 2}


async def test_the_hard_time_limit(fleet: Fleet) -> None:
    assert await error_of(fleet, "hangs") == (-32011, "time-limit")


async def test_the_soft_time_limit_is_raised_inside_a_sync_tool(fleet: Fleet) -> None:
    assert (await call(fleet, "cleans_up")).structured_content == {"result": "cleaned up"}


async def test_the_soft_time_limit_cancels_an_async_tool(fleet: Fleet) -> None:
    assert (await call(fleet, "async_hangs")).is_error


async def test_a_killed_pool_child_is_replaced_and_the_call_runs_again(fleet: Fleet, tmp_path: Path) -> None:
    result = await call(fleet, "dies", mark=str(tmp_path / "mark"), times=1)
    assert result.structured_content == {"result": "survived after 1"}


async def test_a_call_that_kills_every_child_ends_with_an_error(fleet: Fleet, tmp_path: Path) -> None:
    assert await error_of(fleet, "dies", mark=str(tmp_path / "mark"), times=99) == (-32010, "worker-lost")


@pytest.mark.parametrize("tool", ["dies_once", "dies_early"])
async def test_an_at_most_once_tool_is_not_run_again(fleet: Fleet, tmp_path: Path, tool: str) -> None:
    mark = tmp_path / "mark"
    assert await error_of(fleet, tool, mark=str(mark)) == (-32012, "outcome-unknown")
    assert mark.read_text() == "x"


@pytest.mark.parametrize("tool", ["retried", "retried_async"])
async def test_retries_that_succeed_answer_the_call(fleet: Fleet, tmp_path: Path, tool: str) -> None:
    result = await call(fleet, tool, mark=str(tmp_path / "mark"), failures=2)
    assert result.structured_content == {"result": "try 3 worked"}


@pytest.mark.parametrize("tool", ["retried", "retried_async"])
async def test_retries_that_are_used_up_are_an_error(fleet: Fleet, tmp_path: Path, tool: str) -> None:
    mark = tmp_path / "mark"
    assert (await call(fleet, tool, mark=str(mark), failures=99)).is_error
    assert mark.read_text() == "xxxx"  # the first try and max_retries=3


async def test_a_bound_tool_retries_by_hand(fleet: Fleet) -> None:
    assert (await call(fleet, "bound", n=1)).structured_content == {"retries": 1}
    assert (await call(fleet, "bound", n=9)).is_error


async def test_a_tool_that_rejects_its_task(fleet: Fleet) -> None:
    assert await error_of(fleet, "rejects") == (-32015, "rejected")


async def test_a_reply_too_large_for_the_broker(fleet: Fleet) -> None:
    assert await error_of(fleet, "large", size=1_100_000) == (-32014, "reply-too-large")


async def test_a_request_too_large_raises_at_the_caller_at_once(fleet: Fleet) -> None:
    async with fleet.client() as client:
        with pytest.raises(MessageTooLarge, match="1,048,576"):
            await client.call_tool("echo_async", {"text": "x" * 1_100_000})


async def test_an_unknown_method_and_a_resource_that_is_not_there(fleet: Fleet) -> None:
    async with fleet.client() as client:
        with pytest.raises(MCPError):
            await client.read_resource("nowhere://at-all")
