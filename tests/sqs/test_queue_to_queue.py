"""The code of issue 4 as written: a server process on one queue, clients on queues of their own."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import Any

import anyio
import pytest
from mcp import Client, ClientSession
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitResult

from asyncmcp_kombu import SqsClientConfig, SqsServerConfig
from asyncmcp_kombu.errors import MessageTooLarge, QueueNotFound
from asyncmcp_kombu.sqs import sqs_client, sqs_server
from tests.services import quick
from tests.sqs.aws import Aws
from tests.sqs.notes import notes
from tests.sqs.processes import serving

pytestmark = pytest.mark.anyio

SERVER = """
import anyio, boto3, sys
from asyncmcp_kombu import SqsServerConfig
from asyncmcp_kombu.sqs import sqs_server
from tests.sqs.notes import notes
boto3_sqs, app = boto3.client("sqs"), notes()
init_options = app.create_initialization_options()

async def main():
    config = SqsServerConfig(read_queue_url={requests!r})
    async with sqs_server(config, boto3_sqs) as (read, write):
        print("ready", flush=True)
        await app.run(read, write, init_options)

anyio.run(main)
"""

CLIENT = """
import anyio, boto3
from mcp import ClientSession
from asyncmcp_kombu import SqsClientConfig
from asyncmcp_kombu.sqs import sqs_client
boto3_sqs = boto3.client("sqs")

async def main():
    config = SqsClientConfig(read_queue_url={requests!r}, response_queue_url={responses!r})
    async with sqs_client(config, boto3_sqs) as (read, write):
        async with ClientSession(read, write) as session:
            await session.initialize()
            result = await session.call_tool("echo", {{"text": "hello"}})
            print(result.content[0].text)

anyio.run(main)
"""


async def test_the_code_of_the_issue_works_as_written_in_two_processes(aws: Aws):
    requests = aws.queue("requests")
    responses = requests.replace("requests", "responses")  # created when missing

    def client() -> str:
        code = CLIENT.format(requests=requests, responses=responses)
        done = subprocess.run(
            [sys.executable, "-c", code], env=aws.env, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    with serving(aws, code=SERVER.format(requests=requests)):
        assert await anyio.to_thread.run_sync(client) == "hello\n"
    assert aws.depth(requests) == (0, 0)
    assert aws.depth(responses) == (0, 0)


def client_config(aws: Aws, requests: str, responses: str, **fields: Any) -> SqsClientConfig:
    return SqsClientConfig(read_queue_url=requests, response_queue_url=aws.queue(responses), **fields)


class Serving:
    """A server in this process."""

    def __init__(self, aws: Aws, **fields: Any) -> None:
        self.aws, self.requests = aws, aws.queue("requests")
        self.config = SqsServerConfig(read_queue_url=self.requests, **fields)

    async def run(self, *, task_status: Any) -> None:
        app = notes()
        async with sqs_server(self.config, self.aws.sqs) as (read, write):
            task_status.started()
            await app.run(read, write, app.create_initialization_options())

    async def __aenter__(self) -> str:
        self.tasks = anyio.create_task_group()
        await self.tasks.__aenter__()
        await self.tasks.start(self.run)
        return self.requests

    async def __aexit__(self, *error: Any) -> None:
        self.tasks.cancel_scope.cancel()
        await self.tasks.__aexit__(*error)


def text_of(result: Any) -> str:
    return result.content[0].text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_many_clients_at_once_are_each_answered_on_their_own_queue(aws: Aws, mode: str):
    heard: dict[str, list[str | None]] = {}

    async def one(requests: str, name: str) -> None:
        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            heard.setdefault(name, []).append(message)

        async def elicit(context: Any, params: Any) -> ElicitResult:
            return ElicitResult(action="accept", content={"name": name})

        transport = sqs_client(client_config(aws, requests, name), aws.sqs)
        async with Client(transport, mode=mode, elicitation_callback=elicit) as client:
            for text in (name, name + "!"):
                result = await client.call_tool("slowly", {"text": text, "seconds": 0.1}, progress_callback=on_progress)
                assert text_of(result) == text
            if mode == "legacy":
                assert text_of(await client.call_tool("asks", {})) == f"name='{name}'"

    with anyio.fail_after(30):
        async with Serving(aws) as requests, anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(one, requests, f"client{number}")
    assert heard == {f"client{n}": [f"client{n}"] * 2 + [f"client{n}!"] * 2 for n in range(4)}


async def test_a_client_of_the_other_era_is_told_of_serve(aws: Aws):
    with anyio.fail_after(20):
        async with Serving(aws) as requests:
            async with Client(sqs_client(client_config(aws, requests, "one"), aws.sqs), mode="2026-07-28") as modern:
                await modern.list_tools()
                async with sqs_client(client_config(aws, requests, "two"), aws.sqs) as (read, write):
                    async with ClientSession(read, write) as session:
                        with pytest.raises(MCPError, match=r"asyncmcp_kombu\.serve takes clients of both eras"):
                            await session.initialize()


async def test_closing_takes_less_than_a_second_and_leaves_no_thread(aws: Aws):
    before = set(threading.enumerate())
    async with Serving(aws) as requests:
        config = client_config(aws, requests, "responses", wait_time_seconds=20)
        async with sqs_client(config, aws.sqs) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            closing_at = time.monotonic()
        assert time.monotonic() - closing_at < quick(1.0)
        ending_at = time.monotonic()
    assert time.monotonic() - ending_at < quick(1.0)
    assert [t.name for t in set(threading.enumerate()) - before if t.name.startswith("asyncmcp-")] == []
    assert aws.sqs.get_queue_attributes(QueueUrl=requests)["ResponseMetadata"]["HTTPStatusCode"] == 200  # still open


@pytest.mark.parametrize(
    ("wait_time", "idle"), [(1, 3.5), pytest.param(20, 60.0, marks=pytest.mark.exhaustive, id="a minute")]
)
async def test_an_idle_server_answers_as_fast_as_a_busy_one(aws: Aws, wait_time: int, idle: float):
    """Three empty polls on either side, the default wait of 20 s included."""
    fields: dict[str, Any] = {"wait_time_seconds": wait_time, "poll_interval_seconds": 60}
    async with Serving(aws, **fields) as requests:
        config = client_config(aws, requests, "responses", **fields)
        async with sqs_client(config, aws.sqs) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            await anyio.sleep(idle)
            called_at = time.monotonic()
            await session.call_tool("echo", {"text": "awake?"})
            assert time.monotonic() - called_at < quick(1.0)


async def test_what_is_too_large_raises_at_the_sender(aws: Aws):
    async with Serving(aws) as requests:
        config = client_config(aws, requests, "responses", max_message_bytes=10_000)
        async with sqs_client(config, aws.sqs) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            with pytest.raises(MessageTooLarge, match="10,000 bytes"):
                await session.call_tool("echo", {"text": "x" * 20_000})
            assert text_of(await session.call_tool("echo", {"text": "small"})) == "small"


@pytest.mark.parametrize("side", ["server", "client"])
async def test_a_timeout_ends_the_streams_and_never_delays_an_exit(aws: Aws, side: str):
    lasting: dict[str, Any] = {"transport_timeout_seconds": 60}
    ending: dict[str, Any] = {"transport_timeout_seconds": 3.0}
    async with Serving(aws) as requests:
        config = client_config(aws, requests, "responses", **lasting)
        begun_at = time.monotonic()
        async with sqs_client(config, aws.sqs) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
        assert time.monotonic() - begun_at < 20.0
        config = client_config(aws, requests, "responses", **ending)
        with anyio.fail_after(15):
            if side == "client":
                async with sqs_client(config, aws.sqs) as (read, write), ClientSession(read, write) as session:
                    await session.initialize()
                    with pytest.raises(MCPError):
                        await session.call_tool("slowly", {"text": "never", "seconds": 30})
            else:
                app = notes()
                own = SqsServerConfig(read_queue_url=aws.queue("other"), **ending)
                async with sqs_server(own, aws.sqs) as (read, write):
                    await app.run(read, write, app.create_initialization_options())


async def test_a_queue_that_does_not_exist_is_named(aws: Aws):
    missing = aws.queue("requests").replace("requests", "misspelt")
    with pytest.raises(QueueNotFound, match="misspelt"):
        async with sqs_server(SqsServerConfig(read_queue_url=missing), aws.sqs):
            pass
    with pytest.raises(QueueNotFound, match="misspelt"):
        async with sqs_client(client_config(aws, missing, "responses"), aws.sqs):
            pass
