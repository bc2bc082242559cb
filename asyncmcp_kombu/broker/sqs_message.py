"""What one message looks like on SQS, both ways, as plain functions.

Two forms travel: an envelope (MessageBody is the JSON-RPC text itself, the attributes are
MessageAttributes; any SQS client in any language can take part) and Kombu's own form (MessageBody is a JSON
document holding body, headers and properties), which Celery's messages use. Both are read; an envelope is
written for whatever carries the header `MessageType`.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Mapping
from typing import Any

from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps, loads

from asyncmcp_kombu.broker.virtual import is_envelope

MAX_ATTRIBUTES = 10
"""https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html"""

MAX_DELAY = 900
"""Seconds, the longest DelaySeconds of SQS."""

_KOMBU_KEYS = {"body", "properties", "headers"}


def to_entry(queue_url: str, message: dict[str, Any]) -> dict[str, Any]:
    """The arguments of SendMessage for a message in Kombu's virtual-transport form."""
    properties = message["properties"]
    entry: dict[str, Any] = {"QueueUrl": queue_url}
    if is_envelope(message):
        # SQS refuses these two characters, which JSON can escape.
        text = bytes_to_str(message["body"])
        entry["MessageBody"] = text.replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")
        entry["MessageAttributes"] = to_attributes(message["headers"])
    else:
        entry["MessageBody"] = dumps(message)
    if queue_url.endswith(".fifo"):
        entry["MessageGroupId"] = properties.get("MessageGroupId", "default")
        entry["MessageDeduplicationId"] = properties.get("MessageDeduplicationId") or str(uuid.uuid4())
    else:
        if "MessageGroupId" in properties:  # a fair queue
            entry["MessageGroupId"] = properties["MessageGroupId"]
        if properties.get("DelaySeconds"):
            entry["DelaySeconds"] = min(int(properties["DelaySeconds"]), MAX_DELAY)
    return entry


def to_attributes(headers: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """MessageAttributes for the headers, the first ten of them: later ones are mirrors of the body."""
    chosen = list(headers.items())[:MAX_ATTRIBUTES]
    return {
        name: {
            "DataType": "Number" if isinstance(value, int | float) else "String",
            "StringValue": str(value),
        }
        for name, value in chosen
    }


def size_of(entry: Mapping[str, Any]) -> int:
    """Bytes that count towards SQS's limit: the body, and the name, type and value of each attribute."""
    size = len(entry["MessageBody"].encode("utf-8", "surrogatepass"))
    for name, attribute in entry.get("MessageAttributes", {}).items():
        size += len(name) + len(attribute["DataType"]) + len(attribute["StringValue"].encode("utf-8", "replace"))
    return size


def to_payload(received: Mapping[str, Any], queue: str, queue_url: str) -> dict[str, Any]:
    """Kombu's virtual-transport form of a message received from SQS.

    `delivery_info` says what the broker vouches for: the queue, `redelivered`, `receive_count`, and
    `sender_id`, the IAM identity of the sender.
    """
    attributes = {name: value.get("StringValue", "") for name, value in received.get("MessageAttributes", {}).items()}
    payload: dict[str, Any] | None = None if "MessageType" in attributes else _kombu_form(received["Body"])
    if payload is None:
        payload = {
            "body": received["Body"],
            "headers": attributes,
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "properties": {},
        }
    system = received.get("Attributes", {})
    count = int(system.get("ApproximateReceiveCount", 1))
    properties: dict[str, Any] = payload["properties"]
    properties["delivery_tag"] = received["ReceiptHandle"]
    properties["delivery_info"] = {
        "exchange": "",
        "routing_key": queue,
        "redelivered": count > 1,
        "receive_count": count,
        "sender_id": system.get("SenderId"),
        "queue_url": queue_url,
    }
    return payload


def _kombu_form(text: str) -> dict[str, Any] | None:
    """The message inside Kombu's own form, base64 or plain, or None when it is something else."""
    try:
        document = loads(text)
    except ValueError:
        try:
            document = loads(base64.b64decode(text, validate=True))
        except (ValueError, binascii.Error):
            return None
    if isinstance(document, dict) and document.keys() >= _KOMBU_KEYS and isinstance(document["properties"], dict):
        return document
    return None
