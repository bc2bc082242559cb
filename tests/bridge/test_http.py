"""The bridge over HTTP in front of a real server, on each broker: everything arrives as if nothing were between."""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.subscriptions import ToolsListChanged
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY
from pydantic import SecretStr

from asyncmcp_kombu import Settings, kombu_client
from asyncmcp_kombu.bridge.http import listen
from tests.bridge.far import served
from tests.bridge.http import ENDING, MODERN, SOON, browserless, headers, http_bridge, request, send
from tests.brokers.proxy import Proxy

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]


async def test_a_client_lists_calls_reads_and_hears_of_progress(settings: Settings) -> None:
    heard: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    async with served(settings), http_bridge(settings) as url:
        async with Client(url, read_timeout_seconds=SOON) as client:
            assert client.protocol_version == MODERN
            assert client.server_info is not None
            assert (client.server_info.name, client.instructions) == ("behind", "Use the tools.")
            assert {"add", "waits"} <= {tool.name for tool in (await client.list_tools()).tools}
            assert (await client.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}
            nothing = await client.call_tool("nothing")
            assert nothing.structured_content == {"a": None, "b": {"c": None}}
            await client.call_tool("counts", {"name": "x", "steps": 10}, progress_callback=on_progress)
            assert heard == [float(n) for n in range(10)]
            read = await client.read_resource("note://tea")
            assert "a note on tea" in str(read.contents)
            got = await client.get_prompt("greet", {"name": "Ada"})
            assert "Greet Ada" in str(got.messages)


def test_small_answers_do_not_wait_for_the_clients_kernel() -> None:
    with listen("127.0.0.1", 0) as sock, socket.create_connection(sock.getsockname()), sock.accept()[0] as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_progress_and_log_lines_come_in_order_and_before_the_response(settings: Settings) -> None:
    steps = 20
    call = request(
        "tools/call",
        {"name": "counts", "arguments": {"name": "x", "steps": steps}},
        **{"progressToken": "mine", "io.modelcontextprotocol/logLevel": "info"},
    )
    async with served(settings) as far, http_bridge(settings) as url, browserless() as client:
        came = await send(client, url, call)
        *notifications, response = came
        assert [one["method"] for one in notifications] == ["notifications/progress", "notifications/message"] * steps
        assert [one["params"].get("progress") for one in notifications[::2]] == list(range(steps))
        assert [one["params"]["data"] for one in notifications[1::2]] == [f"x {n}" for n in range(steps)]
        assert {one["params"]["progressToken"] for one in notifications[::2]} == {"mine"}
        assert response["id"] == 1
        assert response["result"]["structuredContent"] == {"result": "x done"}
        assert far.params["tools/call"] == call["params"]  # untouched


async def test_clients_with_equal_ids_and_tokens_get_their_own(settings: Settings) -> None:
    came: dict[str, list[dict[str, Any]]] = {}

    async with served(settings), http_bridge(settings) as url, anyio.create_task_group() as tasks:

        async def use(name: str) -> None:
            call = request("tools/call", {"name": "counts", "arguments": {"name": name, "steps": 8}}, progressToken=7)
            async with browserless() as client:
                came[name] = await send(client, url, call)

        for n in range(10):
            tasks.start_soon(use, f"client{n}")
        # The block waits for them; the bridge and the server end after it.
    assert len(came) == 10
    for name, (*progress, response) in came.items():
        assert [(one["params"]["message"], one["params"]["progress"]) for one in progress] == [
            (name, n) for n in range(8)
        ]
        assert (response["id"], response["result"]["structuredContent"]) == (1, {"result": f"{name} done"})


async def test_errors_are_the_far_sides_own(settings: Settings) -> None:
    asked: list[Callable[[Client], Awaitable[Any]]] = [
        lambda client: client.call_tool("no_such_tool", {}),
        lambda client: client.call_tool("refuses", {}),
        lambda client: client.call_tool("add", {"a": "not a number"}),
        lambda client: client.read_resource("no://such"),
        lambda client: client.get_prompt("no such prompt"),
    ]

    async def outcomes(server: Any) -> list[Any]:
        found: list[Any] = []
        async with Client(server, read_timeout_seconds=SOON) as client:
            for ask in asked:
                try:
                    found.append((await ask(client)).model_dump())
                except MCPError as error:
                    found.append(error.error)
        return found

    async with served(settings), http_bridge(settings) as url:
        direct = await outcomes(kombu_client(settings=settings))
        assert direct == await outcomes(url)
        assert direct[1].data == {"tomorrow": True, "nested": [None]}


async def test_a_method_that_the_bridge_never_heard_of_is_forwarded(memory: Settings) -> None:
    async with served(memory) as far, http_bridge(memory) as url, browserless() as client:
        (answer,) = await send(client, url, request("example.org/new", {"x": [None]}, id="a-1"))
        assert (answer["id"], answer["error"]["code"]) == ("a-1", -32601)
        assert far.params["example.org/new"]["x"] == [None]


async def test_the_old_handshake_under_the_new_versions_header_is_an_unknown_method(memory: Settings) -> None:
    async with served(memory) as far, http_bridge(memory) as url, browserless() as client:
        (answer,) = await send(client, url, request("initialize", {"protocolVersion": "2025-11-25"}))
        assert answer["error"]["code"] == -32601
        assert not far.seen["initialize"]


async def test_a_client_that_leaves_cancels_its_call(settings: Settings) -> None:
    call = request("tools/call", {"name": "waits", "arguments": {}})
    async with served(settings) as far, http_bridge(settings) as url:
        async with browserless() as client, anyio.create_task_group() as tasks:

            async def wait() -> None:
                await client.post(url, json=call, headers=headers(call))

            tasks.start_soon(wait)
            with anyio.fail_after(SOON):
                await far.started.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(SOON):
            await far.cancelled.wait()


async def test_a_subscription_bears_the_id_of_its_client(settings: Settings) -> None:
    async with served(settings), http_bridge(settings) as url:
        async with Client(url, read_timeout_seconds=SOON) as client:
            async with client.listen(tools_list_changed=True) as subscription:
                await client.call_tool("changes", {})
                with anyio.fail_after(SOON):
                    assert await anext(subscription) == ToolsListChanged()


async def test_frames_of_two_subscriptions_with_one_id_are_not_mixed(memory: Settings) -> None:
    listen = request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, id="same")
    async with served(memory), http_bridge(memory) as url, browserless() as client, anyio.create_task_group() as tasks:
        acknowledged = [anyio.Event(), anyio.Event()]
        frames: list[list[str]] = [[], []]
        done = [anyio.Event(), anyio.Event()]

        async def hear(n: int) -> None:
            async with client.stream("POST", url, json=listen, headers=headers(listen)) as stream:
                async for line in stream.aiter_lines():
                    if line.startswith("data:"):
                        frames[n].append(line)
                        acknowledged[n].set()
                        if len(frames[n]) == 2:
                            done[n].set()

        for n in range(2):
            tasks.start_soon(hear, n)
        with anyio.fail_after(SOON):
            for event in acknowledged:
                await event.wait()
            await send(client, url, request("tools/call", {"name": "changes", "arguments": {}}, id="same"))
            for event in done:
                await event.wait()
        for one in frames:
            assert len(one) == 2
            assert all(f'"{SUBSCRIPTION_ID_META_KEY}":"same"' in frame for frame in one)
        tasks.cancel_scope.cancel()


async def test_headers_that_contradict_an_argument_are_refused(memory: Settings) -> None:
    call = request("tools/call", {"name": "regional", "arguments": {"region": "eu"}})
    async with served(memory) as far, http_bridge(memory) as url, browserless() as client:
        (wrong,) = await send(client, url, call, **{"Mcp-Param-Region": "us"})
        (missing,) = await send(client, url, call)
        (right,) = await send(client, url, call, **{"Mcp-Param-Region": "eu"})
        assert (wrong["error"]["code"], missing["error"]["code"]) == (-32020, -32020)
        assert right["result"]["structuredContent"] == {"result": "eu"}
        assert far.seen["tools/call"] == 1


async def test_the_check_of_headers_asks_the_far_side_once_and_again_after_a_change(memory: Settings) -> None:
    async with served(memory) as far, http_bridge(memory) as url, browserless() as client:
        call = request("tools/call", {"name": "add", "arguments": {"a": 1, "b": 1}})
        for _ in range(5):
            await send(client, url, call)
        assert (far.seen["tools/call"], far.seen["tools/list"]) == (5, 1)
        async with Client(url, read_timeout_seconds=SOON) as listener:
            async with listener.listen(tools_list_changed=True) as subscription:
                await send(client, url, request("tools/call", {"name": "changes", "arguments": {}}))
                with anyio.fail_after(SOON):
                    await anext(subscription)
        for _ in range(5):
            await send(client, url, call)
        assert far.seen["tools/list"] == 2
        # What a client asks for itself always comes from the far side, and is as good for the check.
        for _ in range(2):
            await send(client, url, request("tools/list"))
        await send(client, url, call)
        assert far.seen["tools/list"] == 4


async def test_silence_ends_with_an_error_that_says_what_to_look_at(memory: Settings) -> None:
    async with served(memory) as far, http_bridge(memory, timeout=0.5) as url, browserless() as client:
        (answer,) = await send(client, url, request("tools/call", {"name": "waits"}))
        assert answer["error"]["code"] == -32001
        for word in ("'behind'", "0.5 s", "--timeout", "celery -A workers worker"):
            assert word in answer["error"]["message"]
        with anyio.fail_after(SOON):
            await far.cancelled.wait()


async def test_nobody_there_ends_with_an_error(memory: Settings) -> None:
    async with http_bridge(memory, timeout=0.3) as url, browserless() as client:
        for method in ("server/discover", "tools/list"):
            (answer,) = await send(client, url, request(method))
            assert answer["error"]["data"] == {"reason": "no-answer"}


async def test_a_call_that_was_given_up_is_not_run_later(shared: Settings) -> None:
    async with http_bridge(shared, timeout=0.5) as url, browserless() as client:
        await send(client, url, request("tools/call", {"name": "nothing"}))
        async with served(shared) as far:
            (answer,) = await send(client, url, request("tools/call", {"name": "add", "arguments": {"a": 1, "b": 1}}))
            assert answer["result"]["structuredContent"] == {"result": 2}
            assert far.seen["tools/call"] == 1


async def test_while_the_broker_is_away_callers_are_told_and_afterwards_served(redis: Settings) -> None:
    call = request("tools/call", {"name": "add", "arguments": {"a": 1, "b": 1}})
    proxy = Proxy(6379)
    url_of_proxy = redis.broker_url.get_secret_value().replace(":6379", f":{proxy.port}")
    cut_off = redis.model_copy(update={"broker_url": SecretStr(url_of_proxy)})
    try:
        async with served(redis), http_bridge(cut_off, timeout=3) as url, browserless() as client:
            assert "result" in (await send(client, url, call))[-1]
            proxy.cut()
            (answer,) = await send(client, url, call)
            assert answer["error"]["data"] == {"reason": "broker-unreachable"}
            assert str(proxy.port) not in answer["error"]["message"]
            proxy.restore()
            with anyio.fail_after(SOON):
                while "error" in (answer := (await send(client, url, call))[-1]):
                    assert answer["error"]["code"] in (-32603, -32001)
            assert answer["result"]["structuredContent"] == {"result": 2}
    finally:
        proxy.close()


async def test_a_tool_that_shows_signs_of_life_may_take_longer_than_the_timeout(memory: Settings) -> None:
    call = request("tools/call", {"name": "breathes", "arguments": {"times": 6, "pause": 0.25}}, progressToken="t")
    async with served(memory), http_bridge(memory, timeout=0.8) as url, browserless() as client:
        *_, response = await send(client, url, call)
        assert response["result"]["structuredContent"] == {"result": "alive"}


async def test_a_request_that_the_broker_does_not_take_is_told_why(memory: Settings) -> None:
    settings = memory.model_copy(update={"max_message_bytes": 20_000})
    async with served(settings), http_bridge(settings) as url, browserless() as client:
        (answer,) = await send(client, url, request("tools/call", {"name": "x" * 30_000}), **{"Mcp-Name": "x" * 30_000})
        assert answer["error"]["code"] == -32013
        assert "ASYNCMCP_MAX_MESSAGE_BYTES" in answer["error"]["message"]


async def test_stopping_answers_who_waits_and_cancels_over_there(settings: Settings) -> None:
    stop = anyio.Event()
    answers: list[dict[str, Any]] = []
    async with served(settings) as far, browserless() as client, anyio.create_task_group() as tasks:
        async with http_bridge(settings, stop=stop) as url:

            async def call() -> None:
                answers.extend(await send(client, url, request("tools/call", {"name": "waits"})))

            tasks.start_soon(call)
            with anyio.fail_after(SOON):
                await far.started.wait()
            began = time.monotonic()
            stop.set()
        assert time.monotonic() - began < ENDING
        with anyio.fail_after(SOON):
            await far.cancelled.wait()
    assert answers[0]["error"]["message"] == "the bridge is being stopped; the request was cancelled"


async def test_a_broken_connection_to_the_bridge_harms_nobody_else(memory: Settings) -> None:
    async with served(memory) as far, http_bridge(memory) as url, browserless() as client:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(_leave_early, url)
        with anyio.fail_after(SOON):
            (answer,) = await send(client, url, request("tools/call", {"name": "add", "arguments": {"a": 1, "b": 1}}))
        assert answer["result"]["structuredContent"] == {"result": 2}
        far.go_on.set()


async def _leave_early(url: str) -> None:
    call = request("tools/call", {"name": "waits"})
    with anyio.move_on_after(0.3):
        async with httpx2.AsyncClient() as client:
            await client.post(url, json=call, headers=headers(call))
