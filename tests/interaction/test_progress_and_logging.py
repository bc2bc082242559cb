"""Progress and log messages: what a request sends on its way belongs to it, in order, before its answer."""

from __future__ import annotations

import anyio
import pytest
from mcp_types import LoggingMessageNotificationParams

from tests.interaction.connect import SOON, Connect
from tests.interaction.heard import Heard, Progress
from tests.interaction.servers import LOWLEVEL
from tests.interaction.spec import requirement, runs_on

pytestmark = pytest.mark.anyio

LEVELS = ["debug", "info", "warning", "error", "emergency"]


@requirement("2026-07-28/basic/patterns/progress#progress-flow", "Progress, an optional total, an optional message.")
@requirement("2025-11-25/basic/utilities/progress#behavior-requirements", "Progress MUST stop after completion.")
async def test_progress_arrives_in_order_before_the_answer(connect: Connect) -> None:
    heard = Progress()
    async with connect() as client:
        result = await client.call_tool("progress", {"steps": 10}, progress_callback=heard)
        assert heard.all == [(n, 10, f"step {n}") for n in range(1, 11)]
    assert result.structured_content == {"result": "done"}


@requirement("2026-07-28/basic/patterns/progress#progress-flow", "The progress value MAY be floating point.")
async def test_a_sync_tool_reports_progress_as_well(connect: Connect) -> None:
    heard = Progress()
    async with connect() as client:
        await client.call_tool("sync_progress", {"steps": 4}, progress_callback=heard)
        assert heard.all == [(0.5, None, None), (1.0, None, None), (1.5, None, None), (2.0, None, None)]


@requirement("2026-07-28/basic/patterns/progress#progress-flow", "To receive progress, include a progressToken.")
async def test_a_call_that_did_not_ask_for_progress_is_answered_without(connect: Connect) -> None:
    heard: Heard[object] = Heard()
    async with connect(message_handler=heard) as client:
        result = await client.call_tool("progress", {"steps": 3})
    assert result.structured_content == {"result": "done"}
    assert heard.all == []


@requirement("2026-07-28/basic/patterns/progress#progress-flow", "Tokens MUST be unique across all active requests.")
async def test_the_progress_of_calls_at_the_same_time_is_not_mixed(connect: Connect) -> None:
    heard = {steps: Progress() for steps in (3, 5, 7)}
    async with connect() as client:
        with anyio.fail_after(SOON):
            async with anyio.create_task_group() as tasks:
                for steps, callback in heard.items():
                    tasks.start_soon(client.call_tool, "progress", {"steps": steps}, None, callback)
        for steps, callback in heard.items():
            assert callback.steps == list(range(1, steps + 1))


@requirement(
    "2026-07-28/server/utilities/logging#per-request-log-level",
    "The server MAY send notifications at or above the requested level on the request's own stream.",
    era="2026",
)
async def test_a_request_gets_the_log_messages_it_asks_for(connect: Connect) -> None:
    heard: Heard[LoggingMessageNotificationParams] = Heard()
    async with connect(logging_callback=heard, log_level="warning") as client:
        await client.call_tool("logs", {"levels": LEVELS, "text": "✓"})
        await heard.until_there_are(3)
    assert [(one.level, one.data, one.logger) for one in heard.all] == [
        (level, {"text": "✓", "level": level}, "interaction") for level in ("warning", "error", "emergency")
    ]


@requirement(
    "2026-07-28/server/utilities/logging#per-request-log-level",
    "The server MUST NOT emit notifications/message for a request that does not include the level.",
    era="2026",
)
async def test_a_request_that_asks_for_no_log_messages_gets_none(connect: Connect) -> None:
    heard: Heard[LoggingMessageNotificationParams] = Heard()
    async with connect(logging_callback=heard) as client:
        await client.call_tool("logs", {"levels": LEVELS, "text": "no"})
        await client.call_tool("echo", {"text": "after"})
    assert heard.all == []


@requirement(
    "2025-11-25/server/utilities/logging#log-message-notifications", "Level, logger, any data.", era="handshake"
)
async def test_before_2026_07_28_log_messages_arrive_unasked(connect: Connect) -> None:
    heard: Heard[LoggingMessageNotificationParams] = Heard()
    async with connect(logging_callback=heard) as client:
        await client.call_tool("logs", {"levels": LEVELS, "text": "✓"})
        await heard.until_there_are(5)
    assert [one.level for one in heard.all] == LEVELS


@requirement("2025-11-25/server/utilities/logging#setting-log-level", "Clients set the minimum level.", era="handshake")
@runs_on("the SDK leaves it to the author of a server to heed the level", hosts=("single", "fleet"))
async def test_the_level_of_a_session_is_heeded_by_every_worker(connect: Connect) -> None:
    heard: Heard[LoggingMessageNotificationParams] = Heard()
    async with connect(LOWLEVEL, logging_callback=heard) as client:
        await client.set_logging_level("error")
        for _ in range(3):
            await client.call_tool("log", {})
        await heard.until_there_are(3)
        await client.set_logging_level("debug")
        await client.call_tool("log", {})
        await heard.until_there_are(6)
    assert [one.level for one in heard.all] == ["error"] * 3 + ["debug", "warning", "error"]
