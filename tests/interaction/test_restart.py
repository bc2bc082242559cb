"""Everything that serves is stopped and started anew: clients do not notice."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.to_thread
import pytest
from mcp import Client
from mcp.server.subscriptions import ToolsListChanged
from mcp_types import ElicitResult, InputRequiredResult

from tests.interaction.connect import SOON, Connect
from tests.interaction.spec import requirement, runs_on

pytestmark = pytest.mark.anyio


PATIENCE = 90.0
"""Seconds: on a busy machine workers take long to end and to start."""


async def elicit(context: Any, params: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={"name": "Ada"})


@requirement("DESIGN section 6", "Handshake-era clients, too, are served by any worker, and survive a worker restart.")
@requirement("2026-07-28/basic/index#statelessness", "Servers SHOULD NOT require the same connection or process.")
@requirement("2026-07-28/basic/patterns/mrtr#basic-workflow", "The retry needs nothing but what is in the retry.")
@runs_on(
    "clients of both eras see the same restart; that of workers takes long, and tests/fleet/test_eras.py has it, too",
    hosts=("single", "fleet"),
    eras=("2026",),
    fleets=("memory", "sqs"),
)
async def test_clients_of_both_eras_survive_the_restart_of_everything_that_serves(connect: Connect) -> None:
    async with (
        connect(mode="auto", read_timeout_seconds=PATIENCE) as new,
        connect(mode="legacy", read_timeout_seconds=PATIENCE, elicitation_callback=elicit) as old,
        new.listen(tools_list_changed=True) as events,
    ):
        first = await new.session.call_tool("asks_twice", {}, allow_input_required=True)
        assert isinstance(first, InputRequiredResult)
        await old.call_tool("echo", {"text": "before"})
        meanwhile: list[object] = []

        async def call(client: Client) -> None:
            meanwhile.append((await client.call_tool("echo", {"text": "meanwhile"})).structured_content)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, connect.deployment.restart)
            tasks.start_soon(call, new)
            tasks.start_soon(call, old)
        assert meanwhile == [{"result": "meanwhile"}] * 2
        answers = {"name": ElicitResult(action="accept", content={"value": "Ada"})}
        second = await new.session.call_tool(
            "asks_twice", {}, input_responses=answers, request_state=first.request_state, allow_input_required=True
        )
        assert isinstance(second, InputRequiredResult)
        assert (await old.call_tool("books", {"occasion": "tea"})).structured_content == {
            "action": "accept",
            "data": {"name": "Ada", "seats": 2},
        }
        with anyio.fail_after(SOON):
            await old.call_tool("publishes", {"what": ["tools"]})
            assert await anext(events) == ToolsListChanged()
