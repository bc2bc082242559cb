"""`bridge --stdio` as a host starts it: a real process, on brokers that processes share."""

from __future__ import annotations

import signal
import time

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from asyncmcp_kombu import Settings, kombu_client
from tests import services
from tests.bridge.command import command, stdio_parameters
from tests.bridge.far import served
from tests.bridge.http import ENDING, MODERN, SOON, request

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]


async def test_a_host_lists_calls_and_hears_of_progress_in_order(shared: Settings) -> None:
    heard: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    async with served(shared):
        async with Client(stdio_parameters(shared), read_timeout_seconds=SOON) as client:
            assert client.protocol_version == MODERN
            assert {"add", "waits"} <= {tool.name for tool in (await client.list_tools()).tools}
            assert (await client.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}
            await client.call_tool("counts", {"name": "x", "steps": 10}, progress_callback=on_progress)
        assert heard == [float(n) for n in range(10)]
    assert not _queues(shared, "-reply-")


async def test_an_error_is_the_far_sides_own(shared: Settings) -> None:
    async with served(shared):
        errors: list[MCPError] = []
        for server in (kombu_client(settings=shared), stdio_parameters(shared)):
            async with Client(server, read_timeout_seconds=SOON) as client:
                with pytest.raises(MCPError) as caught:
                    await client.call_tool("refuses", {})
                errors.append(caught.value)
        assert errors[0].error == errors[1].error
        assert errors[0].error.data == {"tomorrow": True, "nested": [None]}


async def test_a_cancelled_call_is_cancelled_in_the_tool(shared: Settings) -> None:
    async with served(shared) as far, Client(stdio_parameters(shared), read_timeout_seconds=SOON) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "waits", {})
            with anyio.fail_after(SOON):
                await far.started.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(SOON):
            await far.cancelled.wait()
        assert (await client.call_tool("add", {"a": 1, "b": 1})).structured_content == {"result": 2}


async def test_progress_and_log_lines_come_in_order_and_standard_output_is_json_only(shared: Settings) -> None:
    call = request(
        "tools/call",
        {"name": "counts", "arguments": {"name": "x", "steps": 10}},
        id="a",
        **{"progressToken": 0, "io.modelcontextprotocol/logLevel": "info"},
    )
    async with served(shared), command(shared, "--stdio") as bridge:
        await bridge.write(call)
        lines = [await bridge.read() for _ in range(21)]
        await bridge.end_of_input()
        assert await bridge.ended() == 0
        out, _ = await bridge.rest()
    methods = [line.get("method") for line in lines]
    assert methods == ["notifications/progress", "notifications/message"] * 10 + [None]
    assert [line["params"]["progress"] for line in lines[:-1:2]] == list(range(10))
    assert (lines[-1]["id"], lines[-1]["result"]["structuredContent"]) == ("a", {"result": "x done"})
    assert out == ""


@pytest.mark.parametrize(
    "end", ["end of input", signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.exhaustive)], ids=str
)
async def test_it_ends_within_a_second_and_leaves_no_queue(shared: Settings, end: str | signal.Signals) -> None:
    async with served(shared) as far, command(shared, "--stdio") as bridge:
        await bridge.write(request("tools/call", {"name": "waits"}))
        with anyio.fail_after(SOON):
            await far.started.wait()
        began = time.monotonic()
        if isinstance(end, str):
            await bridge.end_of_input()
        else:
            bridge.signal(end)
        assert await bridge.ended() == 0
        assert time.monotonic() - began < ENDING
        with anyio.fail_after(SOON):
            await far.cancelled.wait()
        out, err = await bridge.rest()
        assert "Traceback" not in err
        assert all(line.startswith("{") for line in out.splitlines())
    assert not _queues(shared, "-reply-")


@pytest.mark.parametrize("end", ["end of input", signal.SIGTERM], ids=str)
async def test_it_ends_as_fast_while_nobody_answers_initialize(redis: Settings, end: str | signal.Signals) -> None:
    opening = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    async with command(redis, "--stdio") as bridge:
        await bridge.write({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": opening})
        with anyio.fail_after(SOON):
            while not _queues(redis, "-requests"):  # a list on Redis is there while something is in it
                await anyio.sleep(0.02)
        began = time.monotonic()
        if isinstance(end, str):
            await bridge.end_of_input()
        else:
            bridge.signal(end)
        assert await bridge.ended() == 0
        assert time.monotonic() - began < ENDING


async def test_what_is_not_json_rpc_ends_nothing(redis: Settings) -> None:
    async with served(redis), command(redis, "--stdio") as bridge:
        await bridge.write({"no": "message"})
        await bridge.write(request("tools/call", {"name": "add", "arguments": {"a": 1, "b": 1}}, id=7))
        assert (await bridge.read())["id"] == 7
        await bridge.end_of_input()
        assert await bridge.ended() == 0


def _queues(settings: Settings, kind: str) -> list[str]:
    names = services.queues_on(settings.broker_url.get_secret_value(), [settings.prefix])
    return [name for name in names if kind in name]
