"""One request through the SDK's own driver: what comes back, and what is sent on the way."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import pytest
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types.jsonrpc import ErrorData
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.server.dispatch import dispatch
from asyncmcp_kombu.server.replies import Replies
from asyncmcp_kombu.server.serving import Answer
from tests.server.recording import META, VERSION, Recording, request, serving

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def lifespan(_: MCPServer) -> AsyncIterator[dict[str, str]]:
    yield {"colour": "blue"}


server = MCPServer("tiny", lifespan=lifespan)
later: list[Context] = []


@server.tool()
def add(a: int, b: int) -> int:
    return a + b


@server.tool()
async def count(ctx: Context, steps: int) -> str:
    for step in range(steps):
        await ctx.report_progress(step + 1, steps, f"step {step + 1}")
    return "counted"


@server.tool()
def refuse() -> str:
    raise ToolError("not today")


@server.tool()
def crash() -> str:
    raise KeyError("secret-detail")


@server.tool()
def protocol_error() -> str:
    raise MCPError(code=-32007, message="weekend", data={"day": 6})


@server.tool()
async def colour(ctx: Context) -> str:
    return ctx.request_context.lifespan_context["colour"]


@server.tool()
async def keep_context(ctx: Context) -> str:
    later.append(ctx)
    return "kept"


@server.tool()
async def sleep() -> str:
    await anyio.sleep_forever()
    return "never"


async def served(incoming: Envelope, publish: Any = None) -> Answer:
    lowlevel = server._lowlevel_server
    async with lowlevel.lifespan(lowlevel) as state:
        publish = publish or Recording()
        return await dispatch(serving(lowlevel, state, publish), incoming, Replies(incoming, publish))


def call(tool: str, meta: dict[str, Any] | None = None, **arguments: Any) -> Envelope:
    return request("tools/call", {"name": tool, "arguments": arguments}, meta={**META, **(meta or {})})


async def test_a_tools_result_is_the_answer():
    answer = await served(call("add", a=1, b=2))
    assert isinstance(answer, dict)
    assert answer["structuredContent"] == {"result": 3}
    assert answer["resultType"] == "complete"


async def test_tools_are_listed():
    answer = await served(request("tools/list"))
    assert isinstance(answer, dict)
    assert "add" in {tool["name"] for tool in answer["tools"]}


async def test_a_tools_failure_is_a_result_that_says_so():
    answer = await served(call("refuse"))
    assert isinstance(answer, dict)
    assert answer["isError"] is True
    assert "not today" in answer["content"][0]["text"]


async def test_wrong_arguments_are_a_result_that_says_so():
    answer = await served(call("add", a="x", b=2))
    assert isinstance(answer, dict)
    assert answer["isError"] is True


async def test_a_protocol_error_keeps_its_code_and_data():
    answer = await served(call("protocol_error"))
    assert answer == ErrorData(code=-32007, message="weekend", data={"day": 6})


@pytest.mark.parametrize("method", ["no/such", "tools/no", ""])
async def test_an_unknown_method_is_32601(method):
    answer = await served(request(method))
    assert isinstance(answer, ErrorData)
    assert answer.code == -32601


@pytest.mark.parametrize(
    "meta", [None, {}, "text", {**META, next(iter(META)): 5}], ids=["none", "empty", "text", "wrong"]
)
async def test_missing_or_broken_meta_is_32602(meta):
    answer = await served(request("tools/list", meta=meta))
    assert isinstance(answer, ErrorData)
    assert answer.code == -32602


async def test_a_request_without_params_is_32602():
    incoming = request("tools/list")
    message = {"jsonrpc": "2.0", "id": 7, "method": "tools/list"}
    answer = await served(Envelope(body=b"", message=message, timestamp=0.0, reply_to=incoming.reply_to))
    assert isinstance(answer, ErrorData)
    assert answer.code == -32602


async def test_another_protocol_version_is_32022_with_the_supported_ones():
    version_key = next(key for key, value in META.items() if value == VERSION)
    answer = await served(request("tools/list", meta={**META, version_key: "1999-01-01"}))
    assert isinstance(answer, ErrorData)
    assert answer.code == -32022
    assert answer.data["supported"] == list(MODERN_PROTOCOL_VERSIONS)


async def test_what_an_unexpected_error_says_stays_on_the_server():
    answer = await served(call("crash"))
    assert "secret-detail" not in str(answer)


async def test_progress_is_sent_before_the_answer_and_numbered_from_0():
    publish = Recording()
    answer = await served(call("count", meta={"progressToken": "p1"}, steps=3), publish)
    assert isinstance(answer, dict)
    assert publish.sequences == [0, 1, 2]
    assert [message["method"] for message in publish.messages] == ["notifications/progress"] * 3
    assert publish.messages[2]["params"] == {
        "progressToken": "p1",
        "progress": 3,
        "total": 3,
        "message": "step 3",
    }


async def test_without_a_progress_token_no_progress_is_sent():
    publish = Recording()
    await served(call("count", steps=3), publish)
    assert publish.sent == []


async def test_a_report_returns_when_the_broker_has_accepted_it():
    accepted: Future[None] = Future()
    handed_over = threading.Event()

    def publish(queue: str, envelope: Envelope) -> Future[None]:
        handed_over.set()
        return accepted

    answers: list[Answer] = []

    async def serve() -> None:
        answers.append(await served(call("count", meta={"progressToken": 1}, steps=1), publish))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        assert await anyio.to_thread.run_sync(handed_over.wait, 5.0)
        await anyio.wait_all_tasks_blocked()
        assert answers == []
        accepted.set_result(None)
    assert len(answers) == 1


async def test_after_the_answer_nothing_is_sent_any_more():
    publish = Recording()
    later.clear()
    await served(call("keep_context", meta={"progressToken": 1}), publish)
    (ctx,) = later
    await ctx.report_progress(1)
    assert publish.sent == []


async def test_a_tool_sees_what_the_lifespan_yields():
    answer = await served(call("colour"))
    assert isinstance(answer, dict)
    assert answer["structuredContent"] == {"result": "blue"}


async def test_a_cancelled_call_ends_with_the_cancellation():
    with anyio.move_on_after(0.05) as scope:
        await served(call("sleep"))
    assert scope.cancelled_caught
