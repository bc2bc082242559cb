"""Run with the peer's interpreter: asyncmcp's own client makes two calls and prints what it got, as JSON.

Arguments: `sqs`, request queue, response queue; or `sns`, request topic, own queue, own topic. `head` before them makes
the handshake as the head of asyncmcp's repository does.
"""

import json
import sys

import anyio
import boto3
from asyncmcp.sns_sqs.client import SnsSqsClientTransport, sns_sqs_client
from asyncmcp.sns_sqs.utils import SnsSqsClientConfig
from asyncmcp.sqs.client import SqsClientTransport, sqs_client
from asyncmcp.sqs.utils import SqsClientConfig
from mcp import ClientSession
from mcp.types import ElicitResult

FAST = {"wait_time_seconds": 1, "poll_interval_seconds": 0.01}


def as_the_head_does(transport, key, address):
    """commit 168f01b and later: the address in `_meta` (its only difference on the wire)."""

    async def prepare(self, session_message):
        message = session_message.message.model_dump(by_alias=True, exclude_none=True)
        if message.get("method") == "initialize":
            message["params"].setdefault("_meta", {})[key] = address(self)
        return json.dumps(message)

    transport._prepare_initialize_request = prepare


def transport(kind, requests, queue, topic=""):
    sqs = boto3.client("sqs")
    if kind == "sqs":
        return sqs_client(SqsClientConfig(read_queue_url=requests, response_queue_url=queue, **FAST), sqs)
    config = SnsSqsClientConfig(sqs_queue_url=queue, sns_topic_arn=requests, **FAST)
    return sns_sqs_client(config, sqs, boto3.client("sns"), topic)


async def elicit(context, params):
    return ElicitResult(action="accept", content={"name": "Ada"})


async def main(arguments):
    if arguments[0] == "head":
        arguments = arguments[1:]
        as_the_head_does(SqsClientTransport, "responseQueueUrl", lambda self: self.config.response_queue_url)
        as_the_head_does(SnsSqsClientTransport, "clientTopicArn", lambda self: self.client_topic_arn)
    progress = []

    async def on_progress(*reported):
        progress.append(reported[0])

    with anyio.fail_after(40):
        async with transport(*arguments) as (read, write):
            async with ClientSession(read, write, elicitation_callback=elicit) as session:
                await session.initialize()
                tools = [tool.name for tool in (await session.list_tools()).tools]
                first = await session.call_tool("echo", {"text": "hello"})
                second = await session.call_tool(
                    "slowly", {"text": "again", "seconds": 0.1}, progress_callback=on_progress
                )
                answers = [result.content[0].text for result in (first, second)]
                if "asks" in tools:
                    answers.append((await session.call_tool("asks", {})).content[0].text)
                print(json.dumps({"tools": tools, "answers": answers, "progress": progress}))


anyio.run(main, sys.argv[1:])
