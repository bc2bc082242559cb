"""Fuzzing a running worker: random and mutated messages. It goes on, and answers every one that can be answered.

FUZZ_MESSAGES says how many: 300 in `make test`, 10,000 nightly.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from asyncmcp_kombu.broker.publisher import Publisher
from asyncmcp_kombu.topology import new_client_id
from tests.fleet.conftest import Fleet
from tests.fleet.test_refusals import Writer, add

MESSAGES = int(os.environ.get("FUZZ_MESSAGES", "300"))
ODD: list[Any] = [None, True, -1, 2**70, 1.5, "", "x", "\u2028", "é" * 50, [], {}, [[]], {"task": "add"}, "2.0"]
NAMES = ["jsonrpc", "id", "method", "params", "result", "error", "task", "name", "arguments", "_meta"]
HEADERS = ["MessageType", "Timestamp", "RequestId", "Method", "Name", "ClientId", "SessionId", "ExpiresAt", "Receives"]


def mutated(rng: random.Random, value: Any, depth: int = 0) -> Any:
    """The value with something wrong somewhere."""
    if isinstance(value, dict) and value and depth < 4 and rng.random() < 0.85:
        changed, key = dict(value), rng.choice(list(value))
        match rng.randrange(4):
            case 0:
                del changed[key]
            case 1:
                changed[rng.choice(NAMES)] = rng.choice(ODD)
            case _:
                changed[key] = mutated(rng, value[key], depth + 1)
        return changed
    return rng.choice(ODD)


def body_of(rng: random.Random, request_id: str) -> bytes:
    text = json.dumps(mutated(rng, add(request_id))).encode()
    match rng.randrange(10):
        case 0:
            return rng.randbytes(rng.randrange(200))
        case 1:
            at = rng.randrange(len(text) or 1)
            return text[:at] + rng.randbytes(1) + text[at + 1 :]
        case 2:
            return text[: rng.randrange(len(text) or 1)]
        case 3:
            return b"[" * 5_000
        case _:
            return text


def printable(body: bytes) -> bytes:
    """What SQS carries: no control characters, and a body that is not empty."""
    text = "".join(c if c in "\t\n\r" or 0x20 <= ord(c) < 0xD800 else "?" for c in body.decode("utf-8", "replace"))
    return text.encode() or b"?"


@pytest.mark.parametrize("broker", ["sqs", "rabbitmq", "redis"])
def test_a_worker_survives_random_messages_and_answers_what_can_be_answered(
    fleets: Callable[..., Fleet], broker: str
) -> None:
    seed = random.randrange(10**6)
    rng, fleet = random.Random(seed), fleets(broker)
    writer = Writer(fleet)
    writer.inbox.start()
    publisher, client, answerable = Publisher(writer.connect, retry_for=20), new_client_id(), 0
    pid = fleet.worker.pid
    try:
        sent = []
        for n in range(MESSAGES):
            headers: dict[str, Any] = {"MessageType": "jsonrpc", "ReplyTo": writer.reply_to, "ClientId": client}
            if rng.random() < 0.3:
                headers[rng.choice(HEADERS)] = str(rng.choice([x for x in ODD if x not in (None, "")]))
            body = printable(body_of(rng, f"fuzz-{n}"))
            answerable += wants_an_answer(body, headers)
            sent.append(publisher.publish_raw(fleet.topology.requests, body, headers))
        assert [one.exception(60) for one in sent if one.exception(60) is not None] == []
        began, answered = time.monotonic(), 0
        while answered < answerable:
            assert "jsonrpc" in writer.answer(), f"seed {seed}"
            answered += 1
        writer.write(add("after"))
        while writer.answer()["id"] != "after":
            answered += 1
        assert time.monotonic() - began < 60 + MESSAGES / 50
    finally:
        publisher.close()
        writer.inbox.close()
    assert fleet.worker.pid == pid
    assert fleet.worker.status == "running"
    unforeseen = [line for line in fleet.worker.logs().splitlines() if "a request could not be taken" in line]
    assert unforeseen == [], f"seed {seed}: {fleet.worker.logs().partition('could not be taken')[2][:3000]}"


def wants_an_answer(body: bytes, headers: dict[str, Any]) -> bool:
    """Whether somebody waits: not for a notification, for an answer, nor after its deadline."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return True
    if "ExpiresAt" in headers or not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        return "ExpiresAt" not in headers
    refused = "task" in message or headers["MessageType"] != "jsonrpc"
    return refused or ("method" in message and "id" in message) or not ({"method", "result", "error"} & message.keys())
