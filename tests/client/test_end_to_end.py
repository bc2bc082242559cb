"""The SDK's own Client against the SDK's own server, with our client side and our dispatch between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from mcp import Client
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types.jsonrpc import ErrorData
from pydantic import SecretStr

from asyncmcp_kombu import kombu_client
from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.server.dispatch import dispatch
from asyncmcp_kombu.server.replies import Replies
from asyncmcp_kombu.settings import Settings
from tests.client.responder import SOON, Responder
from tests.server.recording import serving
from tests.services import MEMORY_URL, amqp_url, cleanup_queues, redis_url

pytestmark = pytest.mark.anyio

server = MCPServer("echo")


@server.tool()
def add(a: int, b: int) -> int:
    return a + b


@server.tool()
async def count(ctx: Context, steps: int) -> str:
    for step in range(steps):
        await ctx.report_progress(step + 1, steps)
    return "counted"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["memory", "sqs", "rabbitmq", "redis"])
def broker_url(request: pytest.FixtureRequest) -> str:
    urls: dict[str, Callable[[], str]] = {
        "memory": lambda: MEMORY_URL,
        "sqs": lambda: request.getfixturevalue("sqs_url"),
        "rabbitmq": amqp_url,
        "redis": redis_url,
    }
    return urls[request.param]()


@pytest.fixture
def settings(broker_url: str, prefix: str) -> Iterator[Settings]:
    settings = Settings(broker_url=SecretStr(broker_url), server="echo", prefix=prefix)
    with start_blocking_portal() as portal:

        async def serve(request: Envelope, replies: Replies) -> None:
            answer = await dispatch(serving(server._lowlevel_server, {}), request, replies)
            assert answer is not None
            replies.error(answer) if isinstance(answer, ErrorData) else replies.result(answer)

        def answer(request: Envelope, replies: Replies) -> None:
            portal.start_task_soon(serve, request, replies)

        with Responder(settings, answer):
            yield settings
    cleanup_queues(broker_url, prefix)


async def test_a_client_lists_and_calls_tools_and_hears_of_progress_in_order(settings: Settings):
    heard: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    with anyio.fail_after(SOON):
        async with Client(kombu_client(settings=settings)) as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            result = await client.call_tool("add", {"a": 1, "b": 2})
            await client.call_tool("count", {"steps": 5}, progress_callback=on_progress)
            with pytest.raises(MCPError) as caught:
                await client.read_resource("no://such")
    assert tools == {"add", "count"}
    assert result.structured_content == {"result": 3}
    assert heard == [1, 2, 3, 4, 5]
    assert caught.value.error.code < 0
