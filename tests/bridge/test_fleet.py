"""The bridge in front of Celery workers: a host of either era sees the fleet as any other server."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from tests.bridge.command import stdio_parameters
from tests.bridge.http import SOON, browserless, http_bridge, request, send
from tests.fleet.conftest import (
    Fleet,
    broker_urls,  # noqa: F401  # pyright: ignore[reportUnusedImport]
    fleets,  # noqa: F401  # pyright: ignore[reportUnusedImport]
)

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqs", "redis"])
def fleet(request: pytest.FixtureRequest, fleets: Callable[..., Fleet]) -> Fleet:  # noqa: F811
    return fleets(request.param)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_host_uses_a_fleet_over_http(fleet: Fleet, mode: str) -> None:
    heard: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    async with http_bridge(fleet.settings) as url, Client(url, mode=mode, read_timeout_seconds=SOON) as client:
        assert {"add", "progress"} <= {tool.name for tool in (await client.list_tools()).tools}
        assert (await client.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}
        await client.call_tool("progress", {"steps": 5}, progress_callback=on_progress)
        assert heard == sorted(heard)
        assert len(heard) == 5
        with pytest.raises(MCPError) as caught:
            await client.call_tool("protocol_error", {})
        assert caught.value.error.code == -32007


async def test_a_host_uses_a_fleet_over_stdio(fleet: Fleet) -> None:
    async with Client(stdio_parameters(fleet.settings), read_timeout_seconds=SOON) as client:
        assert (await client.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}


async def test_many_callers_with_one_id_get_their_own_answers(fleet: Fleet) -> None:
    sums: dict[int, int] = {}

    async with http_bridge(fleet.settings) as url, anyio.create_task_group() as tasks:

        async def call(n: int) -> None:
            async with browserless() as client:
                (answer,) = await send(
                    client, url, request("tools/call", {"name": "add", "arguments": {"a": n, "b": 1000}})
                )
                sums[n] = answer["result"]["structuredContent"]["result"]

        for n in range(40):
            tasks.start_soon(call, n)
    assert sums == {n: n + 1000 for n in range(40)}
