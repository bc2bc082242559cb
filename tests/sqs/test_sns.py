"""SNS+SQS: requests by a topic, answers by a topic, and each client's queue gets its own only."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest
from mcp import Client, ClientSession

from asyncmcp_kombu import SnsSqsClientConfig, SnsSqsServerConfig, SnsSqsTransportConfig
from asyncmcp_kombu.errors import MessageTooLarge
from asyncmcp_kombu.sns_sqs import sns_sqs_client, sns_sqs_server
from tests.services import quick
from tests.sqs.aws import Aws
from tests.sqs.notes import notes
from tests.sqs.processes import serving
from tests.sqs.test_queue_to_queue import text_of

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def server_in_this_process(aws: Aws, config: SnsSqsTransportConfig) -> AsyncGenerator[None]:
    async def run(*, task_status: Any) -> None:
        app = notes()
        async with sns_sqs_server(config, aws.sqs, aws.sns) as (read, write):
            task_status.started()
            await app.run(read, write, app.create_initialization_options())

    async with anyio.create_task_group() as tasks:
        await tasks.start(run)
        yield
        tasks.cancel_scope.cancel()


async def test_two_clients_on_one_response_topic_each_get_their_own_answers_only(aws: Aws):
    requests, to_server, responses = aws.queue("requests"), aws.topic("to-server"), aws.topic("responses")
    aws.subscribe(to_server, requests, raw=False)
    one, two = aws.queue("one"), aws.queue("two")
    idle = aws.queue("idle")  # subscribed as clients are, for another one's id
    aws.subscribe(responses, idle, raw=True, filter_policy={"Audience": ["somebody-else"]})

    async def calls(queue: str, topic: str | None, client_id: str | None) -> None:
        config = SnsSqsClientConfig(sqs_queue_url=queue, sns_topic_arn=to_server, client_id=client_id)
        async with sns_sqs_client(config, aws.sqs, aws.sns, topic) as streams, ClientSession(*streams) as session:
            await session.initialize()
            for number in range(3):
                text = f"{queue[-3:]} {number}"
                assert text_of(await session.call_tool("echo", {"text": text})) == text
            with pytest.raises(MessageTooLarge, match="262,144 bytes"):
                await session.call_tool("echo", {"text": "x" * 300_000})
            closing_at = time.monotonic()
        assert time.monotonic() - closing_at < quick(1.5)

    with serving(aws, "sns", requests, responses), anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(calls, one, responses, None)
            tasks.start_soon(calls, two, responses, "client-two")
    assert aws.depth(idle) == (0, 0)
    assert aws.depth(one) == aws.depth(two) == (0, 0)
    subscribed = aws.sns.list_subscriptions_by_topic(TopicArn=responses)["Subscriptions"]
    queues = sorted(one["Endpoint"].rpartition("-")[2] for one in subscribed)
    assert queues == ["idle", "two"]  # who names himself may come back, and finds what came meanwhile


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "wrapped"])
async def test_an_operators_own_subscriptions_are_left_as_they_are(aws: Aws, raw: bool):
    """The base form of the configuration; requests and answers raw or wrapped; answers on the server's own topic."""
    requests, own = aws.queue("requests"), aws.queue("own")
    to_server, responses = aws.topic("to-server"), aws.topic("responses")
    aws.subscribe(to_server, requests, raw=raw)
    subscription = aws.subscribe(responses, own, raw=raw)
    config = SnsSqsTransportConfig(sqs_queue_url=requests, sns_topic_arn=responses)
    client = SnsSqsTransportConfig(sqs_queue_url=own, sns_topic_arn=to_server)
    async with server_in_this_process(aws, config):
        for topic in (None, responses):
            with anyio.fail_after(20):
                async with Client(sns_sqs_client(client, aws.sqs, aws.sns, topic)) as session:
                    assert text_of(await session.call_tool("echo", {"text": "hi"})) == "hi"
    assert (
        aws.sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]["RawMessageDelivery"]
        == str(raw).lower()
    )
    assert aws.depth(own) == (0, 0)


async def test_fifo_topics_and_queues_keep_the_order_of_each_client(aws: Aws):
    requests, own = aws.queue("requests.fifo"), aws.queue("own.fifo")
    to_server, responses = aws.topic("to-server.fifo"), aws.topic("responses.fifo")
    aws.subscribe(to_server, requests, raw=True)
    config = SnsSqsServerConfig(sqs_queue_url=requests, sns_topic_arn=responses)
    client = SnsSqsClientConfig(sqs_queue_url=own, sns_topic_arn=to_server)
    heard: list[str | None] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message)

    async with server_in_this_process(aws, config):
        with anyio.fail_after(30):
            async with (
                sns_sqs_client(client, aws.sqs, aws.sns, responses) as streams,
                ClientSession(*streams) as session,
            ):
                await session.initialize()
                for text in ("a", "b", "c"):
                    arguments = {"text": text, "seconds": 0}
                    result = await session.call_tool("slowly", arguments, progress_callback=on_progress)
                    assert text_of(result) == text
    assert heard == ["a", "a", "b", "b", "c", "c"]
    assert aws.depth(requests) == aws.depth(own) == (0, 0)
