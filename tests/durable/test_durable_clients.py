"""Durable clients: they die and come back, and every answer finds its request, and no other."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import redis
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp_types import CallToolResult
from mcp_types.jsonrpc import JSONRPCRequest

from asyncmcp_kombu import Settings, kombu_client
from asyncmcp_kombu.broker.connection import connect
from asyncmcp_kombu.broker.prune import prune, survey
from asyncmcp_kombu.errors import ClientSuperseded, ConfigurationError
from asyncmcp_kombu.topology import Topology
from tests import services
from tests.durable.conftest import SOON, Steps, client, keyed, served, until
from tests.fleet.conftest import Fleet

pytestmark = pytest.mark.anyio

_DOOMED = """
import sys, anyio
from mcp import Client
from asyncmcp_kombu import Settings, kombu_client
url, prefix, server, client_id, tool, arguments, key = sys.argv[1:]
settings = Settings(broker_url=url, prefix=prefix, server=server, wait_time=1, visibility_timeout=3)
async def main():
    async with Client(kombu_client(settings=settings, client_id=client_id, durable=True)) as client:
        try:
            await client.call_tool(tool, eval(arguments), meta={"io.asyncmcp/requestId": key})
        except Exception as error:
            print(error, flush=True)
anyio.run(main)
"""


@contextmanager
def doomed(settings: Settings, client_id: str, tool: str, arguments: Any, key: str) -> Generator[subprocess.Popen[str]]:
    """A process of the durable client that makes one call; killed at the end."""
    where = settings.broker_url.get_secret_value(), settings.prefix, settings.server
    command = [sys.executable, "-c", _DOOMED, *where, client_id, tool, repr(arguments), key]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def client_id() -> str:
    return f"billing-{secrets.token_hex(8)}"


@contextmanager
def deleted_at_the_end(settings: Settings, client_id: str) -> Generator[str]:
    """The durable queue's name; the product leaves the queue, as it must."""
    queue = Topology(settings.server, settings.prefix).durable_reply(client_id)
    services.remember(queue)
    try:
        yield queue
    finally:
        services.delete_queues(settings.broker_url.get_secret_value(), [queue])


def shortly(settings: Settings) -> Settings:
    return settings.model_copy(update={"wait_time": 1, "visibility_timeout": 3})


async def test_a_killed_client_comes_back_and_gets_its_answer_by_key(
    fleet: Fleet, client_id: str, tmp_path: Path
) -> None:
    mark, settings = tmp_path / "mark", shortly(fleet.settings)
    with deleted_at_the_end(settings, client_id):
        arguments = {"seconds": 1.5, "mark": str(mark), "tag": "old answer"}
        with doomed(settings, client_id, "sleeps", arguments, "bill-7"):
            await until(mark, "start")
        await until(mark, "end")
        transport = kombu_client(settings=settings, client_id=client_id, durable=True)
        async with Client(transport, read_timeout_seconds=SOON) as again:
            for n in range(5):  # the SDK's ids begin anew
                assert (await again.call_tool("add", {"a": n, "b": n})).structured_content == {"result": 2 * n}
            result = CallToolResult.model_validate(await transport.answers.get("bill-7", timeout=SOON))
            assert result.structured_content == {"result": "old answer"}
            assert transport.answers.waiting() == []


@pytest.mark.parametrize("settings", ["redis", "rabbitmq"], indirect=True)
async def test_and_on_a_server_of_one_process(settings: Settings, client_id: str) -> None:
    with deleted_at_the_end(settings, client_id):
        async with served(settings, Steps()) as steps:
            with doomed(settings, client_id, "step", {"text": "old answer"}, "bill-7"):
                with anyio.fail_after(SOON):
                    await steps.started.wait()
            steps.go_on.set()
            transport = kombu_client(settings=settings, client_id=client_id, durable=True)
            async with Client(transport, read_timeout_seconds=SOON) as again:
                for text in "abcde":
                    assert (await again.call_tool("echo", {"text": text})).structured_content == {"result": text}
                result = await transport.answers.get("bill-7", timeout=SOON)
                assert result["structuredContent"] == {"result": "old answer"}


@pytest.mark.parametrize("settings", ["redis", "rabbitmq"], indirect=True)
async def test_a_process_is_told_that_another_took_over(settings: Settings, client_id: str) -> None:
    with deleted_at_the_end(settings, client_id):
        async with served(settings, Steps()) as steps:
            with doomed(settings, client_id, "step", {"text": "old answer"}, "bill-7") as process:
                with anyio.fail_after(SOON):
                    await steps.started.wait()
                async with (transport := kombu_client(settings=settings, client_id=client_id, durable=True)):
                    assert process.stdout is not None
                    with anyio.fail_after(SOON):
                        told = await anyio.to_thread.run_sync(process.stdout.readline, abandon_on_cancel=True)
                    assert "another process opened this durable client" in told
                    steps.go_on.set()
                    result = await transport.answers.get("bill-7", timeout=SOON)
                    assert result["structuredContent"] == {"result": "old answer"}


async def test_what_is_not_asked_for_waits_for_another_day(settings: Settings, client_id: str) -> None:
    with deleted_at_the_end(settings, client_id):
        async with served(settings, Steps()) as steps:
            await _left_open(settings, client_id, steps, "a")
            transport = kombu_client(settings=settings, client_id=client_id, durable=True)
            async with Client(transport, read_timeout_seconds=SOON) as one:
                assert (await one.call_tool("echo", {"text": "new"})).structured_content == {"result": "new"}
                await _waiting(transport.answers, "a")
            async with (transport := kombu_client(settings=settings, client_id=client_id, durable=True)):
                assert (await transport.answers.get("a", timeout=SOON))["structuredContent"] == {"result": "a"}
                with pytest.raises(TimeoutError, match="'a'"):
                    await transport.answers.get("a", timeout=0.1)
            with pytest.raises(ConnectionError):
                await transport.answers.get("a")


async def _waiting(answers: Any, key: str) -> None:
    with anyio.fail_after(SOON):
        while key not in answers.waiting():
            await anyio.sleep(0.02)


async def _left_open(settings: Settings, client_id: str, steps: Steps, key: str) -> None:
    """A call whose client goes without cancelling it, as one that dies does; its answer is in the queue afterwards."""
    async with kombu_client(settings=settings, client_id=client_id, durable=True) as (_, write):
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "progressToken": 1,
            **keyed(key),
        }
        params = {"name": "step", "arguments": {"text": key}, "_meta": meta}
        await write.send(SessionMessage(JSONRPCRequest(jsonrpc="2.0", id=1, method="tools/call", params=params)))
        with anyio.fail_after(SOON):
            await steps.started.wait()
    steps.go_on.set()
    async with (later := kombu_client(settings=settings, client_id=client_id, durable=True)):
        await _waiting(later.answers, key)


@pytest.mark.parametrize("settings", ["memory"], indirect=True)
async def test_an_error_is_an_answer_too(settings: Settings, client_id: str) -> None:
    with deleted_at_the_end(settings, client_id):
        async with served(settings, Steps()) as steps:
            await _left_open(settings, client_id, steps, "refused")
            async with (transport := kombu_client(settings=settings, client_id=client_id, durable=True)):
                with pytest.raises(MCPError, match="refused"):
                    await transport.answers.get("refused", timeout=SOON)


@pytest.mark.parametrize("settings", ["memory"], indirect=True)
async def test_within_a_process_the_newer_one_takes_over(settings: Settings, client_id: str) -> None:
    told: list[BaseException] = []
    transports = [kombu_client(settings=settings, client_id=client_id, durable=True) for _ in range(2)]

    async with served(settings, Steps()) as steps, anyio.create_task_group() as tasks:
        with deleted_at_the_end(settings, client_id):
            async with Client(transports[0], read_timeout_seconds=SOON) as older:

                async def call() -> None:
                    try:
                        await older.call_tool("step", {"text": "mine"}, meta=keyed("mine"))
                    except MCPError as error:
                        told.append(error)

                tasks.start_soon(call)
                with anyio.fail_after(SOON):
                    await steps.started.wait()
                async with Client(transports[1], read_timeout_seconds=SOON) as newer:
                    with pytest.raises(ClientSuperseded):
                        await transports[0].answers.get("none", timeout=SOON)
                    steps.go_on.set()
                    assert (await newer.call_tool("echo", {"text": "b"})).structured_content == {"result": "b"}
                    result = await transports[1].answers.get("mine", timeout=SOON)
                    assert result["structuredContent"] == {"result": "mine"}
                with pytest.raises((ClientSuperseded, MCPError)):
                    await older.call_tool("echo", {"text": "late"})
    (error,) = told
    assert "another process opened this durable client" in str(error)


@pytest.mark.parametrize("settings", ["sqs", "redis"], indirect=True)
async def test_the_queue_outlives_its_client_and_pruning(settings: Settings, client_id: str, monkeypatch: Any) -> None:
    url, topology = settings.broker_url.get_secret_value(), Topology(settings.server, settings.prefix)
    with deleted_at_the_end(settings, client_id) as queue:
        async with served(settings, Steps()) as steps:
            await _left_open(settings, client_id, steps, "kept")
        years = time.time() + 1e8
        monkeypatch.setattr(time, "time", lambda: years)
        with connect(url, settings) as connection:
            assert [info.abandoned for info in survey(connection, topology) if info.name == queue] == [False]
            assert queue not in prune(connection, topology, 3600)
            assert queue in prune(connection, topology, 3600, dry_run=True, durable=True)
        monkeypatch.undo()
        async with (transport := kombu_client(settings=settings, client_id=client_id, durable=True)):
            assert await transport.answers.get("kept", timeout=SOON)
        monkeypatch.setattr(time, "time", lambda: years)
        with connect(url, settings) as connection:
            assert queue in prune(connection, topology, 3600, durable=True)


@pytest.mark.parametrize("settings", ["sqs"], indirect=True)
async def test_sqs_keeps_answers_as_long_as_it_is_told(settings: Settings, client_id: str) -> None:
    chosen = settings.model_copy(update={"durable_retention": 86_400})
    with deleted_at_the_end(chosen, client_id) as queue:
        async with kombu_client(settings=chosen, client_id=client_id, durable=True):
            pass
        sqs = services.boto_sqs(chosen.broker_url.get_secret_value())
        url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["MessageRetentionPeriod"])
        assert answer["Attributes"]["MessageRetentionPeriod"] == "86400"


@pytest.mark.parametrize("settings", ["redis"], indirect=True)
async def test_redis_keeps_answers_as_long_as_it_is_told(settings: Settings, client_id: str) -> None:
    settings = settings.model_copy(update={"durable_retention": 3600})
    with deleted_at_the_end(settings, client_id) as queue:
        async with served(settings, Steps()) as steps:
            await _left_open(settings, client_id, steps, "a")
        with redis.Redis.from_url(settings.broker_url.get_secret_value()) as database:
            assert 3500 < int(str(database.ttl(queue))) <= 3600


@pytest.mark.parametrize("settings", ["sqs"], indirect=True)
async def test_durable_and_by_fan_out(settings: Settings, client_id: str) -> None:
    steps = Steps()
    with deleted_at_the_end(settings, client_id):
        async with served(settings, steps):
            transport = kombu_client(settings=settings, client_id=client_id, durable=True, replies="fanout")
            async with Client(transport, read_timeout_seconds=SOON) as one:
                assert (await one.call_tool("echo", {"text": "a"})).structured_content == {"result": "a"}
            again = kombu_client(settings=settings, client_id=client_id, durable=True, replies="fanout")
            async with Client(again, read_timeout_seconds=SOON) as one:
                assert (await one.call_tool("echo", {"text": "b"})).structured_content == {"result": "b"}


@pytest.mark.parametrize("settings", ["redis", "memory"], indirect=True)
async def test_progress_cancellation_and_subscriptions_of_a_named_client(settings: Settings, client_id: str) -> None:
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    steps = Steps()
    async with served(settings, steps), client(settings, client_id=client_id) as one:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.call_tool, "step", {"text": "cancelled"})
            with anyio.fail_after(SOON):
                await steps.started.wait()
            tasks.cancel_scope.cancel()
        steps.go_on.set()
        result = await one.call_tool("step", {"text": "a"}, progress_callback=on_progress)
        assert (result.structured_content, seen) == ({"result": "a"}, [1.0])
        with anyio.fail_after(SOON):
            async with one.listen(resource_subscriptions=["note://a"]) as events:
                await one.call_tool("tell", {"uri": "note://a"})
                assert "note://a" in str(await anext(events))
    with pytest.raises(ConfigurationError, match="durable=True"):
        kombu_client(settings=settings, client_id=client_id).answers  # noqa: B018
