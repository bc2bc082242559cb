"""Hosts without the extension: a slow call answers with a token, and two tools fetch and cancel it."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from tests.tasks.conftest import SOON, TaskFleet, noted

pytestmark = pytest.mark.anyio

COMPANIONS = {"task_result", "task_cancel"}


async def names(client: Client) -> set[str]:
    return {tool.name for tool in (await client.list_tools()).tools}


async def test_only_who_needs_them_sees_the_companions(fleet: TaskFleet):
    async with fleet.client() as plain, fleet.client(mode="legacy") as old, fleet.with_tasks() as (knowing, _):
        assert names and await names(plain) >= COMPANIONS
        assert await names(old) >= COMPANIONS
        assert not COMPANIONS & await names(knowing)
    async with fleet.wire() as wire:
        answer = await wire.call("task_result", {"task_id": "x"})
        assert "error" in answer or answer["result"]["isError"]


@pytest.mark.parametrize("mode", ["auto", pytest.param("legacy", marks=pytest.mark.exhaustive)])
async def test_a_slow_call_is_fetched_by_its_token(fleet: TaskFleet, mode: str):
    """Twice the client validates structured content: the token, and the result, by the schema it was listed."""
    async with fleet.client(mode=mode) as client:
        await client.list_tools()
        token = await client.call_tool("slow_reports", {"seconds": 1.5})
        assert token.is_error is False
        assert token.structured_content is not None
        assert token.structured_content["status"] == "working"
        task_id = token.structured_content["taskId"]
        assert "task_result" in token.content[0].text
        assert task_id in token.content[0].text
        with anyio.fail_after(SOON):
            while True:
                result = await client.call_tool("task_result", {"task_id": task_id})
                assert result.structured_content is not None
                if "reports" in result.structured_content:
                    break
                assert result.structured_content["status"] == "working"
                await anyio.sleep(0.1)
        assert result.structured_content == {"reports": [{"seconds": 1.5}]}
        quick = await client.call_tool("slow_reports", {"seconds": 0})
        assert quick.structured_content == {"reports": [{"seconds": 0.0}]}


async def test_a_slow_call_is_cancelled_by_its_token(fleet: TaskFleet, tmp_path: Path):
    mark = tmp_path / "mark"
    async with fleet.client() as client:
        token = await client.call_tool("slow", {"seconds": 10, "mark": str(mark)})
        assert token.structured_content is not None
        task_id = token.structured_content["taskId"]
        told = await client.call_tool("task_cancel", {"task_id": task_id})
        assert told.structured_content is not None
        assert told.structured_content["status"] == "cancelled"
        result = await client.call_tool("task_result", {"task_id": task_id})
        assert result.structured_content is not None
        assert result.structured_content["status"] == "cancelled"
    assert "end" not in mark.read_text()


async def test_a_token_that_nobody_was_given_is_refused(fleet: TaskFleet):
    async with fleet.client() as client:
        for name in COMPANIONS:
            with pytest.raises(MCPError) as caught:
                await client.call_tool(name, {"task_id": "nope"})
            assert caught.value.error.code == -32602


async def test_a_token_that_needs_answers_says_who_can_give_them(fleet: TaskFleet, tmp_path: Path):
    async with fleet.client() as client:
        token = await client.call_tool("slow_asks", {"seconds": 1})
        assert token.structured_content is not None
        task_id = token.structured_content["taskId"]
        with anyio.fail_after(SOON):
            while True:
                told = await client.call_tool("task_result", {"task_id": task_id})
                assert told.structured_content is not None
                if told.structured_content["status"] == "input_required":
                    break
                await anyio.sleep(0.1)
        assert "extension" in told.content[0].text


async def test_progress_is_told_with_the_token(fleet: TaskFleet, tmp_path: Path):
    mark = tmp_path / "mark"
    async with fleet.client() as client:
        token = await client.call_tool("slow", {"seconds": 1.5, "mark": str(mark)})
        assert token.structured_content is not None
        assert token.structured_content["statusMessage"] == "half way"
        await noted(mark, "end")
