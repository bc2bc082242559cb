"""On SQS an envelope is its JSON text with attributes; Kombu's own form is read and written beside it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from asyncmcp_kombu.broker.sqs_message import (
    MAX_ATTRIBUTES,
    group_of,
    size_of,
    to_attributes,
    to_entry,
    to_payload,
)
from asyncmcp_kombu.envelope import compose

URL = "http://127.0.0.1/0/q"
CALL = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "ädd"}}


def kombu_form(body: bytes, headers: dict, **properties: object) -> dict:
    return {
        "body": body,
        "headers": headers,
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "properties": {"delivery_info": {}, **properties},
    }


def received(body: str, attributes: dict | None = None, **system: str) -> dict:
    return {
        "Body": body,
        "ReceiptHandle": "receipt",
        "MessageAttributes": attributes or {},
        "Attributes": system,
    }


def test_an_envelope_is_sent_as_its_json_text_with_typed_attributes():
    sent = compose(CALL, client_id="c", sequence=2)
    entry = to_entry(URL, kombu_form(sent.body, sent.headers()))
    assert entry["QueueUrl"] == URL
    assert entry["MessageBody"] == sent.body.decode()
    assert json.loads(entry["MessageBody"]) == CALL
    attributes = entry["MessageAttributes"]
    assert attributes["MessageType"] == {"DataType": "String", "StringValue": "jsonrpc"}
    assert attributes["Sequence"] == {"DataType": "Number", "StringValue": "2"}
    assert attributes["Timestamp"]["DataType"] == "Number"


def test_what_was_sent_as_an_envelope_is_received_as_it_was():
    sent = compose(CALL, client_id="c", sequence=2)
    entry = to_entry(URL, kombu_form(sent.body, sent.headers()))
    payload = to_payload(received(entry["MessageBody"], entry["MessageAttributes"]), "q", URL)
    assert payload["body"].encode() == sent.body
    assert payload["headers"] == {name: str(value) for name, value in sent.headers().items()}
    assert (payload["content-type"], payload["content-encoding"]) == ("application/json", "utf-8")


def test_where_room_is_short_only_mirrors_of_the_body_give_way():
    sent = compose(
        CALL,
        client_id="c",
        session_id="s",
        reply_to="r",
        expires_at=1.5,
        protocol_version="v",
        sequence=0,
    )
    assert len(sent.headers()) == MAX_ATTRIBUTES + 1
    dropped = sent.headers().keys() - to_attributes(sent.headers()).keys()
    assert dropped == {"Name"}


@pytest.mark.parametrize("users_own", [1, 2, 3])
def test_a_users_own_attributes_take_the_room_of_mirrors(users_own):
    sent = compose(CALL, client_id="c", session_id="s", reply_to="r", expires_at=1.5, protocol_version="v")
    own = {f"Own{n}": "x" for n in range(users_own)}
    attributes = to_attributes({**own, **sent.headers()})
    assert len(attributes) == MAX_ATTRIBUTES
    assert own.keys() < attributes.keys()
    assert (own.keys() | sent.headers().keys()) - attributes.keys() <= {"Name", "Method", "RequestId"}


def test_a_celery_message_is_sent_in_kombus_own_form_and_read_again():
    message = kombu_form(b"[[1], {}, {}]", {"task": "t", "id": "x"}, correlation_id="x", body_encoding="utf-8")
    message["body"] = message["body"].decode()
    entry = to_entry(URL, message)
    assert "MessageAttributes" not in entry
    payload = to_payload(received(entry["MessageBody"]), "q", URL)
    assert (payload["body"], payload["headers"]) == (message["body"], message["headers"])
    assert payload["properties"]["correlation_id"] == "x"


def test_kombus_own_form_is_read_in_base64_too_as_stock_kombu_sends_it():
    message = kombu_form(b"", {"task": "t"})
    message["body"] = base64.b64encode(b"[]").decode()
    text = base64.b64encode(json.dumps(message).encode()).decode()
    payload = to_payload(received(text), "q", URL)
    assert (payload["body"], payload["headers"]) == (message["body"], {"task": "t"})


@pytest.mark.parametrize(
    "text",
    [
        "plain text",
        "5",
        "[]",
        '{"body": "x"}',
        '{"body": "x", "headers": {}, "properties": []}',
        "e30=",
        base64.b64encode(b"\xff\xfe").decode(),
        base64.b64encode(b"not json").decode(),
    ],
)
def test_anything_else_is_handed_on_as_it_is(text):
    payload = to_payload(received(text), "q", URL)
    assert (payload["body"], payload["headers"]) == (text, {})


def test_with_the_attribute_message_type_a_body_shaped_as_kombus_form_stays_a_body():
    text = json.dumps(kombu_form(b"", {"task": "t"}) | {"body": "x"})
    payload = to_payload(received(text, {"MessageType": {"StringValue": "jsonrpc"}}), "q", URL)
    assert (payload["body"], payload["headers"]) == (text, {"MessageType": "jsonrpc"})


@pytest.mark.parametrize(("count", "redelivered"), [("1", False), ("2", True), ("7", True)])
def test_a_redelivery_is_known_by_the_receive_count(count, redelivered):
    payload = to_payload(received("{}", ApproximateReceiveCount=count, SenderId="AIDA"), "q", URL)
    info = payload["properties"]["delivery_info"]
    assert (info["redelivered"], info["receive_count"]) == (redelivered, int(count))
    assert (info["sender_id"], info["queue_url"], info["routing_key"]) == ("AIDA", URL, "q")
    assert payload["properties"]["delivery_tag"] == "receipt"


def test_what_a_sender_claims_about_the_delivery_does_not_count():
    forged = kombu_form(b"", {"task": "t"}, delivery_tag="forged") | {"body": "x"}
    forged["properties"]["delivery_info"] = {
        "sender_id": "root",
        "redelivered": True,
        "queue_url": "elsewhere",
    }
    payload = to_payload(received(json.dumps(forged), ApproximateReceiveCount="1"), "q", URL)
    assert payload["properties"]["delivery_tag"] == "receipt"
    info = payload["properties"]["delivery_info"]
    assert (info["sender_id"], info["redelivered"], info["queue_url"]) == (None, False, URL)


def test_the_size_counts_bytes_of_the_body_and_of_each_attribute():
    assert size_of({"MessageBody": "ü"}) == 2
    entry = {"MessageBody": "", "MessageAttributes": {"Name": {"DataType": "String", "StringValue": "ü"}}}
    assert size_of(entry) == len("Name") + len("String") + 2


@pytest.mark.parametrize(("asked", "sent"), [(0, None), (30, 30), (900, 900), (5_000, 900)])
def test_a_delay_is_sent_as_far_as_sqs_allows(asked, sent):
    assert to_entry(URL, kombu_form("", {}, DelaySeconds=asked)).get("DelaySeconds") == sent


def test_a_fifo_queue_gets_a_group_and_a_de_duplication_id():
    sent = compose(CALL)
    entry = to_entry(URL + ".fifo", kombu_form(sent.body, sent.headers(), DelaySeconds=5))
    assert entry["MessageGroupId"] == "default"
    assert entry["MessageDeduplicationId"]
    assert "DelaySeconds" not in entry
    chosen = kombu_form(sent.body, sent.headers(), MessageGroupId="g", MessageDeduplicationId="d")
    entry = to_entry(URL + ".fifo", chosen)
    assert (entry["MessageGroupId"], entry["MessageDeduplicationId"]) == ("g", "d")


def wrapped(message: str, **attributes: str) -> dict[str, Any]:
    """What SNS puts into a queue without RawMessageDelivery."""
    body = {
        "Type": "Notification",
        "MessageId": "1",
        "TopicArn": "arn:aws:sns:us-east-1:000000000000:t",
        "Message": message,
        "MessageAttributes": {name: {"Type": "String", "Value": value} for name, value in attributes.items()},
    }
    return {"Body": json.dumps(body), "ReceiptHandle": "r"}


def test_what_sns_wraps_is_unwrapped_with_its_attributes():
    payload = to_payload(wrapped('{"jsonrpc": "2.0"}', MessageType="jsonrpc", ClientId="c"), "q", "url")
    assert payload["body"] == '{"jsonrpc": "2.0"}'
    assert payload["headers"] == {"MessageType": "jsonrpc", "ClientId": "c"}


def test_attributes_of_the_queue_win_over_those_in_the_wrapping():
    received = wrapped("{}", ClientId="inside")
    received["MessageAttributes"] = {"ClientId": {"DataType": "String", "StringValue": "outside"}}
    assert to_payload(received, "q", "url")["headers"]["ClientId"] == "outside"


@pytest.mark.parametrize("body", ['{"TopicArn": "x"', '["TopicArn"]', '{"TopicArn": 1, "Type": "Notification"}'])
def test_what_only_looks_wrapped_stays_as_it_is(body: str):
    assert to_payload({"Body": body, "ReceiptHandle": "r"}, "q", "url")["body"] == body


def test_a_fifo_group_is_a_client_and_what_must_overtake_has_its_own():
    request, answer = {"ClientId": "c", "Method": "tools/call"}, {"ClientId": "c", "Sequence": 1, "RequestId": "1"}
    assert group_of(request) == group_of(answer) == "c"
    besides = group_of({"ClientId": "c", "Method": "notifications/cancelled"})
    assert besides == group_of({"ClientId": "c"}) != "c"
    assert len(group_of({"ClientId": "ü" * 300, "Method": "m"})) <= 128


def test_a_message_that_is_sent_again_has_the_same_deduplication_id():
    message = {"body": "{}", "headers": {"MessageType": "jsonrpc"}, "properties": {"message_id": "m1"}}
    entry = to_entry("https://sqs/1/q.fifo", message)
    assert entry["MessageDeduplicationId"] == "m1"
    assert to_entry("arn:aws:sns:x:1:t.fifo", message, "TopicArn")["MessageDeduplicationId"] == "m1"
    assert "MessageGroupId" not in to_entry("https://sqs/1/q", message)
