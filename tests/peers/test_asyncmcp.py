"""An unmodified asyncmcp 0.2.1 talks to our servers, and our clients to its server."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
from mcp import ClientSession
from mcp_types import ElicitResult

from asyncmcp_kombu import SnsSqsClientConfig, SqsClientConfig
from asyncmcp_kombu.sns_sqs import sns_sqs_client
from asyncmcp_kombu.sqs import sqs_client
from asyncmcp_kombu.topology import Topology
from tests.fleet.native import worker_process
from tests.sqs.aws import Aws
from tests.sqs.processes import serving

pytestmark = pytest.mark.anyio

EXPECTED = {"answers": ["hello", "again", "name='Ada'"], "progress": [1, 2]}


def topics(aws: Aws, requests: str, responses: str, *, raw: bool) -> tuple[str, str]:
    """A request topic and a client's response topic, each with its queue subscribed, as asyncmcp wants them."""
    to_server, to_client = aws.topic("to-server"), aws.topic("reply-to-client")
    aws.subscribe(to_server, requests, raw=raw)
    aws.subscribe(to_client, responses, raw=raw)
    return to_server, to_client


def at_once(*runs: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
    with ThreadPoolExecutor() as threads:
        return [each.result() for each in [threads.submit(run) for run in runs]]


def test_its_sqs_clients_and_our_server(aws: Aws, peer_client: Callable[..., dict[str, Any]]):
    requests = aws.queue("requests")
    with serving(aws, "sqs", requests):
        reports = at_once(
            lambda: peer_client("sqs", requests, aws.queue("one")),
            lambda: peer_client("head", "sqs", requests, aws.queue("two")),
        )
    for report in reports:
        assert {key: report[key] for key in EXPECTED} == EXPECTED
    assert aws.depth(requests) == (0, 0)


def test_its_sns_clients_and_our_server(aws: Aws, peer_client: Callable[..., dict[str, Any]]):
    requests, to_server = aws.queue("requests"), aws.topic("to-server")
    aws.subscribe(to_server, requests, raw=False)

    def run(name: str, raw: bool, *head: str) -> dict[str, Any]:
        own, topic = aws.queue(name), aws.topic(name)
        aws.subscribe(topic, own, raw=raw)
        return peer_client(*head, "sns", to_server, own, topic)

    with serving(aws, "sns", requests, ""):
        reports = at_once(lambda: run("one", False), lambda: run("two", True, "head"))
    for report in reports:
        assert {key: report[key] for key in EXPECTED} == EXPECTED


FLEET = """
from celery import Celery
from mcp.server.mcpserver import Context
from pydantic import BaseModel
from asyncmcp_kombu import mcp_task, serve_mcp

app = Celery("peers")
serve_mcp(app)

@mcp_task
def echo(text: str) -> str:
    return text

class Name(BaseModel):
    name: str

@mcp_task
async def asks(ctx: Context) -> str:
    return str((await ctx.elicit("who?", Name)).data)

@mcp_task
async def slowly(text: str, seconds: float, ctx: Context) -> str:
    await ctx.report_progress(1, 2)
    await ctx.report_progress(2, 2)
    return text
"""


def test_its_clients_and_our_fleet(aws: Aws, peer_client: Callable[..., dict[str, Any]], tmp_path: Any):
    (tmp_path / "peers_app.py").write_text(FLEET)
    topology = Topology("peers", aws.prefix)
    env = {**aws.env, "ASYNCMCP_BROKER_URL": aws.broker_url, "ASYNCMCP_PREFIX": aws.prefix, "PYTHONPATH": str(tmp_path)}
    worker = worker_process("peers_app", env, name=aws.prefix, concurrency=3)
    responses = aws.queue("peers-reply-asyncmcp")  # a reply queue of this server, by its name
    try:
        worker.ready()
        requests = aws.sqs.get_queue_url(QueueName=topology.requests)["QueueUrl"]
        to_server, to_client = aws.topic("peers-in"), aws.topic("peers-reply-asyncmcp")
        aws.subscribe(to_server, requests, raw=False)
        own = aws.queue("peers-own")
        aws.subscribe(to_client, own, raw=False)
        reports = at_once(
            lambda: peer_client("sqs", requests, responses), lambda: peer_client("sns", to_server, own, to_client)
        )
    finally:
        worker.teardown()
    for report in reports:
        assert sorted(report["tools"]) == ["asks", "echo", "slowly"]
        assert {key: report[key] for key in EXPECTED} == EXPECTED


async def elicit(context: Any, params: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={"name": "Ada"})


async def calls(streams: Any) -> None:
    progress: list[float] = []

    async def on_progress(reported: float, *rest: Any) -> None:
        progress.append(reported)

    read, write = streams
    with anyio.fail_after(30):
        async with ClientSession(read, write, elicitation_callback=elicit) as session:
            answer = await session.initialize()
            assert answer.server_info.name == "peer"
            assert (await session.call_tool("echo", {"text": "hello"})).content[0].text == "hello"
            result = await session.call_tool("slowly", {"text": "again"}, progress_callback=on_progress)
            assert result.content[0].text == "again"
            assert (await session.call_tool("asks", {})).content[0].text == "Ada"
    assert progress == [1]


async def test_our_sqs_client_and_its_server(aws: Aws, peer_server: Any):
    requests, responses = aws.queue("requests"), aws.queue("responses")
    with peer_server("sqs", requests):
        config = SqsClientConfig(read_queue_url=requests, response_queue_url=responses)
        for _ in range(2):  # a restarted client on the same queue
            async with sqs_client(config, aws.sqs) as streams:
                await calls(streams)
    assert aws.depth(responses) == (0, 0)


async def test_our_sns_client_and_its_server(aws: Aws, peer_server: Any):
    requests, responses = aws.queue("requests"), aws.queue("responses")
    to_server, to_client = topics(aws, requests, responses, raw=False)
    with peer_server("sns", requests):
        config = SnsSqsClientConfig(sqs_queue_url=responses, sns_topic_arn=to_server)
        async with sns_sqs_client(config, aws.sqs, aws.sns, to_client) as streams:
            await calls(streams)
