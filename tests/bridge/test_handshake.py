"""Hosts of 2025-11-25 and older: sessions, and what the far side asks of the client, over HTTP and stdio."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from mcp_types import (
    CreateMessageResult,
    ElicitResult,
    ListRootsResult,
    LoggingMessageNotificationParams,
    Root,
    TextContent,
)
from pydantic import FileUrl

from asyncmcp_kombu import Settings
from asyncmcp_kombu.bridge.forward import Bridge
from tests import services
from tests.bridge.command import stdio_parameters
from tests.bridge.conftest import settings_on
from tests.bridge.far import FarServer, served
from tests.bridge.http import SOON, browserless, http_bridge

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
VERSION = "2025-11-25"


class Host:
    """What an old client offers, and what it heard, in order."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.messages: list[str] = []
        self.announced, self.asked, self.withdrawn = anyio.Event(), anyio.Event(), anyio.Event()

    async def elicit(self, context: Any, params: Any) -> ElicitResult:
        self.heard.append(params.message)
        if params.message == "Quick!":
            self.asked.set()
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                self.withdrawn.set()
                raise
        return ElicitResult(action="accept", content={"street": "Main Street"})

    async def sample(self, context: Any, params: Any) -> CreateMessageResult:
        token = (params.meta or {}).get("progress_token")
        if token is not None:
            await context.session.send_progress_notification(token, 0.5)
        return CreateMessageResult(role="assistant", content=TextContent(type="text", text="2"), model="m")

    async def roots(self, context: Any) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri=FileUrl("file:///home"))])

    async def log(self, params: LoggingMessageNotificationParams) -> None:
        self.heard.append(params.data)

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.heard.append(progress)

    async def message(self, message: Any) -> None:
        self.messages.append(type(message).__name__)
        if type(message).__name__ == "ToolListChangedNotification":
            self.announced.set()

    def client(self, server: Any) -> Client:
        return Client(
            server,
            mode="legacy",
            read_timeout_seconds=SOON,
            elicitation_callback=self.elicit,
            sampling_callback=self.sample,
            list_roots_callback=self.roots,
            logging_callback=self.log,
            message_handler=self.message,
        )


@asynccontextmanager
async def bridged(settings: Settings, way: str) -> AsyncGenerator[tuple[FarServer, Any]]:
    """A far server, and what an SDK client needs to reach it through a bridge."""
    async with served(settings) as far:
        if way == "http":
            async with http_bridge(settings) as url:
                yield far, url
        else:
            yield far, stdio_parameters(settings)


@pytest.fixture(params=["memory http", "redis http", "sqs http", "redis stdio", "sqs stdio"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[Settings, str]]:
    """A broker, and the way to it."""
    broker, way = request.param.split()
    settings = settings_on(broker, request)
    yield settings, way
    services.cleanup_queues(settings.broker_url.get_secret_value(), settings.prefix)


async def test_an_old_host_opens_lists_calls_and_pings(place: tuple[Settings, str]) -> None:
    host = Host()
    async with bridged(*place) as (_, server), host.client(server) as client:
        assert client.protocol_version == VERSION
        assert client.server_info is not None
        assert (client.server_info.name, client.instructions) == ("behind", "Use the tools.")
        await client.send_ping()  # pyright: ignore[reportDeprecated]
        assert {"add", "waits"} <= {tool.name for tool in (await client.list_tools()).tools}
        assert (await client.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}
        await client.call_tool("counts", {"name": "x", "steps": 5}, progress_callback=host.progress)
        assert host.heard == [one for n in range(5) for one in (float(n), f"x {n}")]


async def test_the_far_side_asks_the_user_the_model_and_for_roots(place: tuple[Settings, str]) -> None:
    host = Host()
    async with bridged(*place) as (_, server), host.client(server) as client:
        answer = await client.call_tool("asks", {}, progress_callback=host.progress)
        assert answer.structured_content == {"result": "Main Street"}
        assert host.heard == [1.0, "Where do you live?", 2.0]
        assert "'2'" in str((await client.call_tool("thinks", {})).structured_content)
        assert (await client.call_tool("looks", {})).structured_content == {"result": ["file:///home"]}
        assert (await client.call_tool("thinks_aloud", {})).structured_content == {"result": [0.5]}


async def test_a_question_that_the_far_side_withdraws_is_withdrawn_at_the_host(place: tuple[Settings, str]) -> None:
    host = Host()
    async with bridged(*place) as (far, server), host.client(server) as client:
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                assert (await client.call_tool("withdraws", {})).structured_content == {"result": "too late"}

            tasks.start_soon(call)
            with anyio.fail_after(SOON):
                await host.asked.wait()
                far.go_on.set()
                await host.withdrawn.wait()


async def test_what_belongs_to_no_request_reaches_the_host(place: tuple[Settings, str]) -> None:
    host = Host()
    async with bridged(*place) as (_, server), host.client(server) as client:
        await client.call_tool("announces", {})
        with anyio.fail_after(SOON):
            await host.announced.wait()


async def test_a_cancelled_call_is_cancelled_in_the_tool(place: tuple[Settings, str]) -> None:
    async with bridged(*place) as (far, server), Host().client(server) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "waits", {})
            with anyio.fail_after(SOON):
                await far.started.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(SOON):
            await far.cancelled.wait()
        assert (await client.call_tool("add", {"a": 1, "b": 1})).structured_content == {"result": 2}


async def test_many_sessions_are_not_mixed_and_leave_no_connection(memory: Settings) -> None:
    bridge = Bridge(memory)
    answers: list[tuple[int, Any, list[Any]]] = []

    async with served(memory), http_bridge(memory, bridge=bridge) as url:
        async with anyio.create_task_group() as tasks:

            async def use(n: int) -> None:
                host = Host()
                async with host.client(url) as client:
                    result = await client.call_tool(
                        "counts", {"name": f"h{n}", "steps": 4}, progress_callback=host.progress
                    )
                    answers.append((n, result.structured_content, host.heard))

            for n in range(8):
                tasks.start_soon(use, n)
        with anyio.fail_after(SOON):
            while bridge.connections > 1:  # all but the one that is there for 2026-07-28
                await anyio.sleep(0.02)
    assert len(answers) == 8
    for n, result, heard in answers:
        assert result == {"result": f"h{n} done"}
        assert heard == [one for step in range(4) for one in (float(step), f"h{n} {step}")]


async def test_an_ended_session_is_not_found(memory: Settings) -> None:
    async with served(memory), http_bridge(memory) as url, browserless() as client:
        session = await _opened(client, url)
        assert (await client.delete(url, headers=session)).status_code == 200
        again = await client.post(url, json={"jsonrpc": "2.0", "id": 2, "method": "ping"}, headers=session)
        assert again.status_code == 404


async def test_a_broken_stream_is_taken_up_where_it_broke(memory: Settings) -> None:
    call = _call("breathes", {"times": 6, "pause": 0.1})
    async with served(memory), http_bridge(memory) as url, browserless() as client:
        session, other = await _opened(client, url), await _opened(client, url)
        first: list[dict[str, str]] = []
        async with client.stream("POST", url, json=call, headers=session) as stream:
            async for event in _events(stream):
                first.append(event)
                if len(first) == 3:  # the priming event and two reports
                    break
        assert first[0]["data"] == ""
        assert first[0]["retry"] == "50"
        rest: list[dict[str, Any]] = []
        with anyio.fail_after(SOON):
            resume = {**session, "Last-Event-ID": first[-1]["id"]}
            async with client.stream("GET", url, headers=resume) as stream:
                async for event in _events(stream):
                    if event["data"]:
                        rest.append(json.loads(event["data"]))
                        if "result" in rest[-1]:
                            break
        *reports, response = rest
        assert [one["params"]["progress"] for one in reports] == [2, 3, 4, 5]
        assert response["result"]["structuredContent"] == {"result": "alive"}
        # The same request id in another session is another stream.
        got: list[dict[str, str]] = []
        with anyio.move_on_after(0.5):
            async with client.stream("GET", url, headers={**other, "Last-Event-ID": first[0]["id"]}) as stream:
                async for event in _events(stream):
                    got.append(event)
        assert not [event for event in got if event["data"]]


async def test_a_tool_may_have_the_stream_closed_and_the_client_comes_back(memory: Settings) -> None:
    async with served(memory) as far, http_bridge(memory) as url, browserless() as client:
        session = await _opened(client, url)
        events: list[dict[str, str]] = []
        with anyio.fail_after(SOON):
            async with client.stream("POST", url, json=_call("hangs_up", {}), headers=session) as stream:
                async for event in _events(stream):
                    events.append(event)
            assert not any('"result"' in event["data"] for event in events)
            far.go_on.set()
            resume = {**session, "Last-Event-ID": events[-1]["id"]}
            async with client.stream("GET", url, headers=resume) as stream:
                async for event in _events(stream):
                    events.append(event)
                    if '"result"' in event["data"]:
                        break
        report, answer = [json.loads(event["data"]) for event in events if event["data"]]
        assert report["method"] == "notifications/progress"  # before the stream was closed, or after
        assert answer["result"]["structuredContent"] == {"result": "back"}


async def test_the_sdks_client_comes_back_by_itself(memory: Settings) -> None:
    async with served(memory) as far, http_bridge(memory) as url, Host().client(url) as client:
        far.go_on.set()
        assert (await client.call_tool("hangs_up", {})).structured_content == {"result": "back"}


async def _opened(client: httpx2.AsyncClient, url: str) -> dict[str, str]:
    """The headers of a new session."""
    plain = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    opening = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": opening}
    answer = await client.post(url, json=message, headers=plain)
    assert answer.status_code == 200, answer.text
    session = {**plain, "Mcp-Session-Id": answer.headers["mcp-session-id"], "MCP-Protocol-Version": VERSION}
    initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await client.post(url, json=initialized, headers=session)).status_code == 202
    return session


def _call(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": 1}}
    return {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}


async def _events(stream: httpx2.Response) -> AsyncGenerator[dict[str, str]]:
    event: dict[str, str] = {}
    async for line in stream.aiter_lines():
        name, _, value = line.partition(":")
        if line == "":
            if event:
                yield event
            event = {}
        elif name:
            event[name] = value.removeprefix(" ")
