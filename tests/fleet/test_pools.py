"""The pools: prefork is the other tests' pool; here threads and solo, and what they cannot do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from mcp.shared.exceptions import MCPError

from tests.fleet.conftest import APP, Fleet
from tests.fleet.native import worker_process

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[(b, p) for b in ("sqs", "rabbitmq", "redis") for p in ("threads", "solo")], ids="-".join)
def pooled(request: pytest.FixtureRequest, fleets: Callable[..., Fleet]) -> Fleet:
    return fleets(*request.param)


async def test_calls_sync_and_async_tools_concurrently(pooled: Fleet) -> None:
    results: list[int] = []

    async def call(n: int) -> None:
        tool, arguments = ("add", {"a": n, "b": 1}) if n % 2 else ("echo_async", {"text": str(n + 1)})
        result = await client.call_tool(tool, arguments)
        results.append(int((result.structured_content or {})["result"]))

    async with pooled.client() as client, anyio.create_task_group() as tasks:
        for n in range(32):
            tasks.start_soon(call, n)
    assert sorted(results) == list(range(1, 33))


async def test_progress_retries_and_errors(pooled: Fleet, tmp_path: Path) -> None:
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async with pooled.client() as client:
        await client.call_tool("sync_progress", {"steps": 3}, progress_callback=on_progress)
        retried = await client.call_tool("retried", {"mark": str(tmp_path / "m"), "failures": 2})
        assert (await client.call_tool("fails", {"text": "x"})).is_error
        assert (await client.call_tool("exits", {})).is_error
    assert seen == [1.0, 2.0, 3.0]
    assert retried.structured_content == {"result": "try 3 worked"}


async def test_an_async_tool_is_held_to_its_limits_by_cancellation(pooled: Fleet) -> None:
    async with pooled.client() as client:
        assert (await client.call_tool("async_hangs", {})).is_error
        with pytest.raises(MCPError) as caught:
            await client.call_tool("async_hangs_hard", {})
    assert caught.value.error.code == -32011


@pytest.mark.parametrize(
    ("pool", "declared", "flags"),
    # FLEET_POOL=prefork: the app declares time limits on sync tools, as for prefork.
    [("threads", "prefork", {}), ("solo", "prefork", {}), ("threads", "threads", {"time-limit": 10})],
)
async def test_a_limit_that_cannot_be_kept_is_refused_at_start_up(
    new_fleet: Callable[..., Fleet], pool: str, declared: str, flags: dict[str, int]
) -> None:
    fleet = new_fleet("redis")
    process = worker_process(APP, {**fleet.env, "FLEET_POOL": declared}, pool=pool, **flags)
    try:
        with pytest.raises(AssertionError):
            process.ready()
        assert process.wait() != 0
        assert "cannot keep for a sync" in process.logs()
        assert "prefork" in process.logs()
        assert "Traceback" not in process.logs()
    finally:
        process.teardown()
