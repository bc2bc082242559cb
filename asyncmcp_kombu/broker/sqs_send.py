"""Sending to SQS: one SendMessage, or SendMessageBatch for several messages to one queue.

A batch holds ten messages and, together, as many bytes as one message may
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html). It may
fail in part: every message gets its own outcome, and what failed through no fault of its own is sent again
by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from asyncmcp_kombu.broker.sqs_errors import explain
from asyncmcp_kombu.broker.sqs_message import size_of, to_entry
from asyncmcp_kombu.errors import MessageTooLarge, PublishError

BATCH = 10

_SHORTER = re.compile(r"(?:shorter than|maximum of|limit of) (\d+)")
"""In the text of a refusal: a queue, or an engine, that takes less than the settings say (an older one: 262,144)."""

Outcome = Exception | None


def put_all(
    client: Any, url_of: Callable[[str], str], messages: Sequence[tuple[str, dict[str, Any]]], limit: int
) -> list[Outcome]:
    """Send messages in Kombu's form to the queues of those names, in order, and return what became of each.

    A message for a queue that does not exist fails: queues are made by declaring, never by sending.
    """
    outcomes: list[Outcome] = [None] * len(messages)
    entries: dict[int, dict[str, Any]] = {}
    for i, (queue, message) in enumerate(messages):
        try:
            entry = to_entry(url_of(queue), message)
            check_size(entry, limit)
        except (BotoCoreError, ClientError, OSError) as error:
            outcomes[i] = explain(error)
        except Exception as error:
            outcomes[i] = error
        else:
            entries[i] = entry
    sent = send_all(client, list(entries.values()), limit) if entries else []
    for i, outcome in zip(entries, sent, strict=True):
        outcomes[i] = outcome
    return outcomes


def check_size(entry: dict[str, Any], limit: int) -> None:
    """Raises MessageTooLarge before SQS would refuse the message."""
    size = size_of(entry)
    if size > limit:
        raise MessageTooLarge(size, limit)


def send_all(client: Any, entries: Sequence[dict[str, Any]], limit: int) -> list[Outcome]:
    """Send the entries, in order, and return what became of each: None when SQS accepted it."""
    outcomes: list[Outcome] = [None] * len(entries)
    for indices in batches(entries, limit, "QueueUrl"):
        if len(indices) == 1:
            outcomes[indices[0]] = _send_one(client, entries[indices[0]])
        else:
            _send_batch(client, entries, indices, outcomes)
    return outcomes


def _send_one(client: Any, entry: dict[str, Any]) -> Outcome:
    try:
        client.send_message(**entry)
    except (BotoCoreError, ClientError, OSError) as error:
        shorter = _SHORTER.search(str(error))
        return explain(error) if shorter is None else MessageTooLarge(size_of(entry), int(shorter[1]))
    return None


def _send_batch(client: Any, entries: Sequence[dict[str, Any]], indices: list[int], outcomes: list[Outcome]) -> None:
    url = entries[indices[0]]["QueueUrl"]
    batch = [{"Id": str(i), **{k: v for k, v in entries[i].items() if k != "QueueUrl"}} for i in indices]
    try:
        answer = client.send_message_batch(QueueUrl=url, Entries=batch)
    except (BotoCoreError, ClientError, OSError) as error:
        for i in indices:  # a batch may be refused for what is wrong with one of it
            outcomes[i] = _send_one(client, entries[i]) if _SHORTER.search(str(error)) else explain(error)
        return
    for failed in answer.get("Failed", ()):
        i = int(failed["Id"])
        if failed.get("SenderFault") and not _SHORTER.search(failed.get("Message", "")):
            outcomes[i] = PublishError(f"SQS refused the message: {failed.get('Code')}: {failed.get('Message', '')}")
        else:
            outcomes[i] = _send_one(client, entries[i])


def batches(entries: Sequence[dict[str, Any]], limit: int, address: str) -> Iterator[list[int]]:
    """Indices that go into one request: same `address`, at most ten, at most `limit` bytes together."""
    open_batches: dict[str, tuple[list[int], int]] = {}
    for i, entry in enumerate(entries):
        to, size = entry[address], size_of(entry)
        indices, used = open_batches.get(to, ([], 0))
        if indices and (len(indices) == BATCH or used + size > limit):
            yield indices
            indices, used = [], 0
        open_batches[to] = ([*indices, i], used + size)
    for indices, _ in open_batches.values():
        yield indices
