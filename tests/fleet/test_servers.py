"""serve_mcp around an existing server: its tools and the app's, its lifespan, its other features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from pathlib import Path

import anyio
import pytest
from celery import Celery
from mcp import Client
from mcp.server.mcpserver import MCPServer

from asyncmcp_kombu import Settings, kombu_client, serve_mcp
from asyncmcp_kombu.errors import ConfigurationError
from tests.fleet.native import NativeProcess, worker_process
from tests.services import cleanup_queues, new_prefix

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["mcpserver", "lowlevel"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "lifespan"


@pytest.fixture
def settings(sqs_url: str) -> Settings:
    return Settings(broker_url=sqs_url, prefix=new_prefix(), server="existing")


@pytest.fixture
def worker(sqs_url: str, kind: str, settings: Settings, mark: Path) -> Generator[NativeProcess]:
    env = {
        "ASYNCMCP_BROKER_URL": sqs_url,
        "ASYNCMCP_PREFIX": settings.prefix,
        "SERVER_KIND": kind,
        "LIFESPAN_MARK": str(mark),
    }
    process = worker_process("tests.fleet.server_app", env, name=settings.prefix, concurrency=2)
    process.ready()
    yield process
    process.teardown()
    cleanup_queues(sqs_url, settings.prefix)


async def test_an_existing_server_serves_its_tools_and_the_apps(
    worker: NativeProcess, settings: Settings, mark: Path, kind: str
) -> None:
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async with Client(kombu_client(settings=settings), read_timeout_seconds=20) as client:
        assert client.server_info.name == "existing"
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert names == {"greet", "declared_before", "declared_after"}
        greeted = await client.call_tool("greet", {"name": "Ada"}, progress_callback=on_progress)
        assert greeted.content[0].text == "hello Ada"  # type: ignore[union-attr]
        up = await client.call_tool("declared_before", {"text": "up"})
        assert up.structured_content == {"result": "UP"}
        assert (await client.call_tool("declared_after", {"n": 1})).structured_content == {"result": 2}
        if kind == "mcpserver":
            assert seen == [1.0]
            read = await client.read_resource("note://one")
            assert read.contents[0].text == "note one"  # type: ignore[union-attr]
            prompt = await client.get_prompt("ask", {"topic": "queues"})
            assert prompt.messages[0].content.text == "Tell me about queues"  # type: ignore[union-attr]
        async with anyio.create_task_group() as tasks:
            for n in range(20):
                tasks.start_soon(client.call_tool, "greet", {"name": str(n)})
    worker.wait_for_log("Task greet[")  # the server's own tools show their names, too
    await anyio.to_thread.run_sync(worker.terminate)
    lifespans = Counter(mark.read_text().splitlines())
    assert set(lifespans.values()) == {1}  # entered and left once per pool process
    pids = {line.split()[1] for line in lifespans}
    assert len(lifespans) == 2 * len(pids)


def test_serve_mcp_refuses_what_is_no_server() -> None:
    with pytest.raises(ConfigurationError, match=r"expected mcp\.server"):
        serve_mcp(Celery("refused", set_as_current=False), object())  # type: ignore[arg-type]


def test_serve_mcp_is_called_once_per_app() -> None:
    app = Celery("twice", set_as_current=False)
    serve_mcp(app)
    with pytest.raises(ConfigurationError, match="once"):
        serve_mcp(app)


def test_a_name_that_no_queue_can_have_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="letters, digits"):
        serve_mcp(Celery("named", set_as_current=False), MCPServer("no spaces allowed"))
