"""What one message looks like on SQS, both ways, as plain functions.

Two forms travel: an envelope (MessageBody is the JSON-RPC text itself, the attributes are
MessageAttributes; any SQS client in any language can take part) and Kombu's own form (MessageBody is a JSON
document holding body, headers and properties), which Celery's messages use. Both are read; an envelope is
written for whatever carries the header `MessageType`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
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

_GROUP = re.compile(r"[\x21-\x7e]{1,110}")
"""A client id that may be part of a MessageGroupId, of 128 characters at most."""

_KOMBU_KEYS = {"body", "properties", "headers"}


def to_entry(address: str, message: dict[str, Any], key: str = "QueueUrl") -> dict[str, Any]:
    """The arguments of SendMessage, or with `key="TopicArn"` of Publish, for a message in Kombu's virtual form.

    On a FIFO queue or topic the messages of one client keep their order, and one that is sent again after a broken
    connection is dropped as a duplicate.
    """
    properties = message["properties"]
    entry: dict[str, Any] = {key: address}
    if is_envelope(message):
        # SQS refuses these two characters, which JSON can escape.
        text = bytes_to_str(message["body"])
        entry["MessageBody"] = text.replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")
        entry["MessageAttributes"] = to_attributes(message["headers"])
    else:
        entry["MessageBody"] = dumps(message)
    if address.endswith(".fifo"):
        entry["MessageGroupId"] = properties.get("MessageGroupId") or group_of(message["headers"])
        once = properties.get("MessageDeduplicationId") or properties.get("message_id")
        entry["MessageDeduplicationId"] = once or str(uuid.uuid4())
    else:
        if "MessageGroupId" in properties:  # a fair queue
            entry["MessageGroupId"] = properties["MessageGroupId"]
        if properties.get("DelaySeconds"):
            entry["DelaySeconds"] = min(int(properties["DelaySeconds"]), MAX_DELAY)
    return entry


def group_of(headers: Mapping[str, Any]) -> str:
    """The group in which a FIFO queue keeps the order: one per client.

    While a message of a group is being worked on the rest of it waits. So what must overtake a running call (its
    cancellation, the answer to its question) has a group of its own.
    """
    client = str(headers.get("ClientId") or "default")
    if not _GROUP.fullmatch(client):
        client = hashlib.sha256(client.encode()).hexdigest()
    overtakes = "Method" not in headers or headers["Method"] == "notifications/cancelled"
    return f"{client}-besides" if overtakes and "Sequence" not in headers else client


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
    body: str = received["Body"]
    if "MessageType" not in attributes:
        body, attributes = _unwrapped(body, attributes)
    payload: dict[str, Any] | None = None if "MessageType" in attributes else _kombu_form(body)
    if payload is None:
        payload = {
            "body": body,
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


def _unwrapped(body: str, attributes: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Body and attributes of what SNS delivered without `RawMessageDelivery`; anything else as it is.

    https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
    """
    try:
        notification: Any = loads(body) if '"TopicArn"' in body else None
    except ValueError:
        return body, attributes
    if not isinstance(notification, dict) or notification.get("Type") != "Notification":
        return body, attributes
    message, wrapped = notification.get("Message"), notification.get("MessageAttributes") or {}
    if not isinstance(message, str) or not isinstance(wrapped, dict):
        return body, attributes
    return message, {**{name: str(value.get("Value", "")) for name, value in wrapped.items()}, **attributes}


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
