"""notifications/cancelled: the work stops, and only the work that was meant."""

from __future__ import annotations

from pathlib import Path

import anyio
import mcp_types as types
import pytest
from mcp import Client, MCPError

from tests.interaction.connect import Connect, until
from tests.interaction.heard import Progress
from tests.interaction.spec import requirement

pytestmark = pytest.mark.anyio


async def call_until_it_waits(
    tasks: anyio.abc.TaskGroup, client: Client, mark: Path, tool: str = "waits"
) -> anyio.CancelScope:
    """A call that waits in the tool by now; cancelling the scope is what a caller does that gives up."""
    started, scope = Progress(), anyio.CancelScope()

    async def call() -> None:
        with scope:
            await client.call_tool(tool, {"mark": str(mark)}, progress_callback=started)
            raise AssertionError("a call that waits for its cancellation was answered")

    tasks.start_soon(call)
    await started.until_there_are(1)
    return scope


@requirement("2026-07-28/basic/patterns/cancellation#behavior-requirements", "SHOULD stop processing the request.")
@requirement("2025-11-25/basic/utilities/cancellation#behavior-requirements", "SHOULD stop, and not send a response.")
@pytest.mark.parametrize("tool", ["waits", "sync_waits"])
async def test_a_cancelled_call_is_cancelled_in_the_tool(connect: Connect, tmp_path: Path, tool: str) -> None:
    mark = tmp_path / "mark"
    async with connect() as client, anyio.create_task_group() as tasks:
        scope = await call_until_it_waits(tasks, client, mark, tool)
        scope.cancel()
        assert await until(mark) == "cancelled"
        assert (await client.call_tool("echo", {"text": "after"})).structured_content == {"result": "after"}


@requirement("2025-11-25/basic/lifecycle#timeouts", "On a timeout, the sender SHOULD issue a cancellation.")
async def test_a_call_that_takes_too_long_fails_at_the_caller_and_stops_in_the_tool(
    connect: Connect, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    async with connect() as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("waits", {"mark": str(mark)}, read_timeout_seconds=1)
        assert caught.value.error.code == types.REQUEST_TIMEOUT
        assert await until(mark) == "cancelled"


@requirement(
    "2026-07-28/basic/patterns/cancellation#behavior-requirements", "MUST only reference requests of one's own."
)
async def test_of_two_clients_with_equal_request_ids_only_one_is_cancelled(connect: Connect, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    async with connect() as one, connect() as two, anyio.create_task_group() as tasks:
        scopes = [await call_until_it_waits(tasks, client, mark) for client, mark in ((one, first), (two, second))]
        scopes[1].cancel()
        assert await until(second) == "cancelled"
        assert (await one.call_tool("echo", {"text": "still"})).structured_content == {"result": "still"}
        assert not first.exists()
        scopes[0].cancel()
        assert await until(first) == "cancelled"


@requirement("2026-07-28/basic/patterns/cancellation#error-handling", "Unknown request IDs SHOULD be ignored.")
async def test_the_cancellation_of_an_unknown_request_is_ignored(connect: Connect) -> None:
    async with connect() as client:
        for request_id in (4711, "made up"):
            params = types.CancelledNotificationParams(request_id=request_id, reason="why not")
            await client.session.send_notification(types.CancelledNotification(params=params))
        assert (await client.call_tool("echo", {"text": "after"})).structured_content == {"result": "after"}
