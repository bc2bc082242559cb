"""docs/wire.md: its example, with nothing but boto3, against `celery -A workers worker`."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from pathlib import Path

import boto3
import pytest

from asyncmcp_kombu.topology import Topology
from tests.fleet.native import worker_process
from tests.services import boto_sqs, cleanup_queues, new_prefix

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def prefix_of_workers(sqs_url: str) -> Generator[str]:
    prefix = new_prefix()
    process = worker_process(
        "workers", {"ASYNCMCP_BROKER_URL": sqs_url, "ASYNCMCP_PREFIX": prefix}, name=prefix, concurrency=1
    )
    process.ready()
    yield prefix
    process.teardown()
    cleanup_queues(sqs_url, prefix)


def test_the_example_of_the_wire_page(
    sqs_url: str, prefix_of_workers: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "wire.md").read_text(), re.S)
    client = boto_sqs(sqs_url)
    monkeypatch.setattr(boto3, "client", lambda service: client)
    exec(compile(code.replace("asyncmcp-", prefix_of_workers), "wire.md", "exec"), {})
    assert capsys.readouterr().out.strip() == "{'result': 3}"


def test_the_answer_is_plain_json_with_attributes(sqs_url: str, prefix_of_workers: str) -> None:
    sqs, topology = boto_sqs(sqs_url), Topology("workers", prefix_of_workers)
    reply_to = sqs.create_queue(QueueName=topology.reply("plain"))["QueueUrl"]
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    sqs.send_message(
        QueueUrl=sqs.get_queue_url(QueueName=topology.requests)["QueueUrl"],
        MessageBody=json.dumps({"jsonrpc": "2.0", "id": "é1", "method": "tools/list", "params": {"_meta": meta}}),
        # A URL works as well as a name.
        MessageAttributes={"ReplyTo": {"DataType": "String", "StringValue": reply_to}},
    )
    (message,) = sqs.receive_message(QueueUrl=reply_to, WaitTimeSeconds=20, MessageAttributeNames=["All"])["Messages"]
    answer = json.loads(message["Body"])
    assert answer["id"] == "é1"
    assert {"add", "countdown"} <= {tool["name"] for tool in answer["result"]["tools"]}
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes["MessageType"] == "jsonrpc"
    assert attributes["Sequence"] == "0"
    sqs.delete_queue(QueueUrl=reply_to)
