"""A FastMCP 4 is served as it is: one process and fleet, both eras. Runs where fastmcp is installed.

`pip install fastmcp` into a virtual environment of its own: what it requires need not fit the other tools here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import CLIENT_CAPABILITIES_META_KEY, ElicitResult, TextContent

from asyncmcp_kombu import Settings, kombu_client, serve
from asyncmcp_kombu.server.dispatch import dispatch
from asyncmcp_kombu.server.lowlevel import lowlevel_of
from asyncmcp_kombu.server.replies import Replies
from asyncmcp_kombu.server.request_state import share_request_state
from tests import services
from tests.fleet.native import NativeProcess, worker_process
from tests.server.recording import KEYS, META, Recording, request, serving

fastmcp = pytest.importorskip("fastmcp", minversion="4.0", reason="needs fastmcp 4, in an environment of its own")
from tests.server.fastmcp_app import fastmcp_server  # noqa: E402  it imports fastmcp

pytestmark = pytest.mark.anyio

NAME = "fast"
SOON = 20.0
TRACE = {
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "vendor=t61rcWkgMzE",
    "baggage": "who=Ada",
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # FastMCP's own locks are asyncio's


@pytest.fixture
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    paths = {"LIFESPAN_MARK": str(tmp_path / "lifespan"), "CANCEL_MARK": str(tmp_path / "cancel")}
    for name, value in paths.items():
        monkeypatch.setenv(name, value)
    return paths


@asynccontextmanager
async def one_process(settings: Settings) -> AsyncGenerator[None]:
    async with anyio.create_task_group() as tasks:

        async def run(*, task_status: Any) -> None:
            await serve(fastmcp_server(NAME), settings=settings, task_status=task_status)

        await tasks.start(run)
        yield
        tasks.cancel_scope.cancel()


class Served:
    """A FastMCP that is served in one of the ways, and clients for it."""

    def __init__(self, settings: Settings, marks: dict[str, str], worker: NativeProcess | None) -> None:
        self.settings, self.worker = settings, worker
        self.lifespans, self.cancelled = Path(marks["LIFESPAN_MARK"]), Path(marks["CANCEL_MARK"])

    def client(self, **options: Any) -> Client:
        return Client(kombu_client(settings=self.settings), read_timeout_seconds=SOON, **options)


@pytest.fixture(params=["memory", "redis", "fleet-threads", "fleet-prefork"])
def settings_and_worker(
    request: pytest.FixtureRequest, marks: dict[str, str]
) -> Generator[tuple[Settings, NativeProcess | None]]:
    url = services.MEMORY_URL if request.param == "memory" else services.redis_url()
    settings = Settings(broker_url=url, prefix=services.new_prefix(), server=NAME)
    worker: NativeProcess | None = None
    try:
        if request.param.startswith("fleet"):
            env = {"ASYNCMCP_BROKER_URL": url, "ASYNCMCP_PREFIX": settings.prefix, "SERVED_AS": NAME, **marks}
            pool = request.param.partition("-")[2]
            worker = worker_process("tests.server.fastmcp_app", env, name=settings.prefix, pool=pool, concurrency=2)
            worker.ready()
        yield settings, worker
    finally:
        if worker is not None:
            worker.teardown()
        services.cleanup_queues(url, settings.prefix)


@pytest.fixture
async def served(
    settings_and_worker: tuple[Settings, NativeProcess | None], marks: dict[str, str]
) -> AsyncGenerator[Served]:
    settings, worker = settings_and_worker
    if worker is not None:
        yield Served(settings, marks, worker)
        return
    async with one_process(settings):
        yield Served(settings, marks, None)


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_tools_resources_and_prompts(served: Served, era: Any):
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async with served.client(mode=era) as client:
        assert client.server_info is not None
        assert client.server_info.name == NAME
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert {"greet", "mirror", "child_mounted"} <= set(tools)
        assert tools["mirror"].output_schema is not None
        greeted = await client.call_tool("greet", {"name": "Ada"}, progress_callback=on_progress)
        assert greeted.structured_content == {"result": "hello Ada"}
        assert seen == [0.0, 1.0, 2.0]
        assert (greeted.meta or {})["com.example/signed"] == "greet"  # FastMCP's middleware has run
        mirrored = await client.call_tool("mirror", {"points": [{"x": 1, "y": 2}]})
        assert mirrored.structured_content == {"result": [{"x": -1, "y": -2}]}
        assert (await client.call_tool("child_mounted", {})).structured_content == {"result": "from below"}
        assert ("beside" in tools) == (served.worker is not None)
        if served.worker is not None:
            assert (await client.call_tool("beside", {"text": "up"})).structured_content == {"result": "UP"}
        refused = await client.call_tool("refuses", {})
        assert refused.is_error
        assert isinstance(refused.content[0], TextContent)
        assert refused.content[0].text == "not today"
        assert (await client.call_tool("greet", {"nam": "Ada"})).is_error
        assert (await client.read_resource("note://one")).contents[0].text == "note one"  # type: ignore[union-attr]
        assert [one.uri_template for one in (await client.list_resource_templates()).resource_templates] == [
            "note://{name}"
        ]
        assert [one.name for one in (await client.list_prompts()).prompts] == ["ask"]
        prompt = await client.get_prompt("ask", {"topic": "queues"})
        assert prompt.messages[0].content.text == "Tell me about queues"  # type: ignore[union-attr]
        with pytest.raises(MCPError):
            await client.read_resource("nothing://there")


async def test_what_a_call_brings_asks_and_how_it_ends(served: Served):
    async def accept(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"value": "Ada"})

    async with served.client() as client:
        result = await client.call_tool("told", {}, meta=TRACE)
        meta = (result.structured_content or {})["meta"]
        assert {key: meta[key] for key in TRACE} == TRACE
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "waits", {})
            await _until(served.cancelled, "started")
            tasks.cancel_scope.cancel()
        await _until(served.cancelled, "cancelled")
    async with served.client(mode="legacy", elicitation_callback=accept) as client:
        asked = await client.call_tool("asks", {})
        assert isinstance(asked.content[0], TextContent)
        assert asked.content[0].text == "accept Ada"


async def test_the_next_round_may_go_to_another_process(marks: dict[str, str]):
    async def called(lowlevel: Any, **params: Any) -> Any:
        meta = {**META, CLIENT_CAPABILITIES_META_KEY: {"elicitation": {"form": {}}}}
        incoming = request("tools/call", {"name": "rounds", **params}, meta=meta)
        async with lowlevel.lifespan(lowlevel) as state:
            return await dispatch(serving(lowlevel, state), incoming, Replies(incoming, Recording()))

    one, other = fastmcp_server(), fastmcp_server()
    for server in (one, other):
        share_request_state(lowlevel_of(server), KEYS)
    first = await called(lowlevel_of(one))
    assert first["resultType"] == "input_required"
    answer = {"name": {"action": "accept", "content": {"name": "Ada"}}}
    second = await called(lowlevel_of(other), inputResponses=answer, requestState=first["requestState"])
    assert second["content"][0]["text"].startswith("Ada, asked by ")


async def test_the_lifespan_is_entered_and_left_once_per_process(
    settings_and_worker: tuple[Settings, NativeProcess | None], marks: dict[str, str]
):
    settings, worker = settings_and_worker

    async def calls() -> None:
        async with Client(kombu_client(settings=settings), read_timeout_seconds=SOON) as client:
            async with anyio.create_task_group() as tasks:
                for n in range(20):
                    tasks.start_soon(client.call_tool, "greet", {"name": str(n)})

    if worker is None:
        async with one_process(settings):
            await calls()
    else:
        await calls()
        worker.wait_for_log("Task greet[")
        await anyio.to_thread.run_sync(worker.terminate)
    lifespans = Counter(Path(marks["LIFESPAN_MARK"]).read_text().splitlines())
    assert set(lifespans.values()) == {1}
    assert len(lifespans) == 2 * len({line.split()[1] for line in lifespans})


async def test_the_fastmcp_of_the_servers_page(tmp_path: Path, prefix: str):
    page = Path(__file__).parents[2] / "docs" / "servers.md"
    _, example = re.findall(r"```python\n(.*?)```", page.read_text(), re.S)
    (tmp_path / "fast.py").write_text(example)
    settings = Settings(broker_url=services.redis_url(), prefix=prefix, server="fast")
    env = {"ASYNCMCP_BROKER_URL": services.REDIS_URL, "ASYNCMCP_PREFIX": prefix, "PYTHONPATH": str(tmp_path)}
    worker = worker_process("fast", env, name=prefix, concurrency=1)
    try:
        worker.ready()
        async with Client(kombu_client(settings=settings), read_timeout_seconds=SOON) as client:
            assert (await client.call_tool("shout", {"text": "hi"})).structured_content == {"result": "HI"}
    finally:
        worker.teardown()
        services.cleanup_queues(services.REDIS_URL, prefix)


def test_the_private_name_by_which_it_is_known():
    server = fastmcp_server()
    assert lowlevel_of(server) is server._mcp_server
    assert lowlevel_of(server).name == NAME


async def _until(mark: Path, text: str) -> None:
    with anyio.fail_after(SOON):
        while not (mark.exists() and mark.read_text() == text):
            await anyio.sleep(0.02)
