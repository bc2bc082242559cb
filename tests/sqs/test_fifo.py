"""FIFO queues: one client's messages in order, each taken once, and a cancellation overtakes what it cancels."""

from __future__ import annotations

import time

import anyio
import pytest
from mcp import ClientSession

from asyncmcp_kombu import SqsClientConfig, SqsServerConfig
from asyncmcp_kombu.sqs import sqs_client, sqs_server
from tests.sqs.aws import Aws
from tests.sqs.notes import notes
from tests.sqs.test_queue_to_queue import text_of

pytestmark = pytest.mark.anyio


async def test_calls_and_a_cancellation_over_fifo_queues(aws: Aws):
    requests, responses = aws.queue("requests.fifo"), aws.queue("responses.fifo")
    app = notes()

    async def serve() -> None:
        async with sqs_server(SqsServerConfig(read_queue_url=requests), aws.sqs) as (read, write):
            await app.run(read, write, app.create_initialization_options())

    config = SqsClientConfig(read_queue_url=requests, response_queue_url=responses)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            async with sqs_client(config, aws.sqs) as streams, ClientSession(*streams) as session:
                await session.initialize()
                for text in ("a", "b", "a"):
                    assert text_of(await session.call_tool("echo", {"text": text})) == text
                with anyio.move_on_after(0.5):
                    await session.call_tool("slowly", {"text": "never", "seconds": 60})
                called_at = time.monotonic()  # behind that call in the client's group
                assert text_of(await session.call_tool("echo", {"text": "on"})) == "on"
                assert time.monotonic() - called_at < 5
            tasks.cancel_scope.cancel()
    assert aws.depth(requests) == aws.depth(responses) == (0, 0)
