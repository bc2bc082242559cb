"""An envelope goes out and comes back as it was; attributes may be missing, unknown, or numbers as text."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from asyncmcp_kombu.envelope import compose, parse

CALL = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "add", "arguments": {"a": 1}}}


def test_a_composed_envelope_is_parsed_as_it_was():
    sent = compose(
        CALL,
        client_id="c1",
        session_id="s1",
        reply_to="asyncmcp-workers-reply-c1",
        expires_at=1_900_000_000.5,
        protocol_version="2026-07-28",
        sequence=3,
    )
    received = parse(sent.body, sent.headers())
    assert received == dataclasses.replace(sent, timestamp=round(sent.timestamp, 3))
    assert received.message == CALL


def test_numbers_may_come_as_text_as_sqs_sends_them():
    sent = compose(CALL, expires_at=1_900_000_000.25, sequence=0)
    received = parse(sent.body, {name: str(value) for name, value in sent.headers().items()})
    assert received.expires_at == 1_900_000_000.25
    assert received.sequence == 0
    assert received.timestamp == pytest.approx(sent.timestamp, abs=0.001)


def test_a_body_may_be_text_or_bytes():
    text = json.dumps({**CALL, "id": "ü"})
    assert parse(text, {}).message == parse(text.encode(), {}).message


def test_a_message_without_attributes_is_accepted():
    envelope = parse(json.dumps(CALL), {})
    assert envelope.timestamp == 0.0
    assert (envelope.client_id, envelope.reply_to, envelope.expires_at, envelope.sequence) == (None,) * 4


def test_unknown_attributes_are_ignored():
    assert parse(json.dumps(CALL), {"Colour": "red", "redelivered": True, "x": [1]}).message == CALL


@pytest.mark.parametrize(
    ("message", "kind", "request_id"),
    [
        (CALL, "request", 7),
        ({"jsonrpc": "2.0", "method": "notifications/initialized"}, "notification", None),
        ({"jsonrpc": "2.0", "id": "a", "result": {}}, "response", "a"),
        ({"jsonrpc": "2.0", "id": 0, "error": {"code": -1, "message": "no"}}, "response", 0),
        ({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "no"}}, "response", None),
    ],
)
def test_kind_and_id_follow_from_the_shape(message, kind, request_id):
    envelope = parse(json.dumps(message), {})
    assert (envelope.kind, envelope.request_id) == (kind, request_id)


def test_a_notification_belongs_to_the_request_that_its_attribute_names():
    sent = compose({"jsonrpc": "2.0", "method": "notifications/progress"}, related_request=7, sequence=0)
    assert sent.headers()["RequestId"] == "7"
    received = parse(sent.body, sent.headers())
    assert (received.kind, received.request_id, received.related_request) == ("notification", "7", "7")


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("tools/call", {"name": "add"}, "add"),
        ("prompts/get", {"name": "greet"}, "greet"),
        ("resources/read", {"uri": "file:///a"}, "file:///a"),
        ("tasks/get", {"taskId": "t1"}, "t1"),
        ("tasks/update", {"taskId": "t1"}, "t1"),
        ("tasks/cancel", {"taskId": "t1"}, "t1"),
        ("tools/list", {"name": "no"}, None),
        ("tools/call", {"name": 5}, None),
        ("tools/call", {}, None),
    ],
)
def test_the_name_is_the_tool_prompt_uri_or_task_that_the_message_is_about(method, params, name):
    envelope = compose({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    assert envelope.name == name
    assert envelope.headers().get("Name") == name


@pytest.mark.parametrize("name", ["x" * 257, "two\nlines", "", "\x00"])
def test_a_name_that_makes_no_attribute_is_not_mirrored_and_stays_in_the_body(name):
    sent = compose({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name}})
    assert "Name" not in sent.headers()
    assert parse(sent.body, sent.headers()).name == name


def test_mirrors_of_the_body_come_last_because_they_give_way_first():
    sent = compose(
        CALL,
        client_id="c",
        session_id="s",
        reply_to="r",
        expires_at=1.0,
        protocol_version="v",
        sequence=0,
    )
    assert list(sent.headers()) == [
        "MessageType",
        "Timestamp",
        "ClientId",
        "SessionId",
        "ReplyTo",
        "ExpiresAt",
        "Sequence",
        "ProtocolVersion",
        "RequestId",
        "Method",
        "Name",
    ]


def test_what_is_not_said_makes_no_attribute():
    assert compose({"jsonrpc": "2.0", "id": 1, "result": {}}, client_id="").headers().keys() == {
        "MessageType",
        "Timestamp",
        "RequestId",
    }


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_float_that_json_lacks_becomes_null(value):
    sent = compose({"jsonrpc": "2.0", "id": 1, "result": {"value": value}})
    assert parse(sent.body, sent.headers()).message["result"] == {"value": None}


@pytest.mark.parametrize("text", ["\ud800", "a\udcffb"])
def test_text_that_utf8_lacks_is_sent_with_a_replacement(text):
    sent = compose({"jsonrpc": "2.0", "id": 1, "result": {"text": text}})
    assert parse(sent.body, sent.headers()).kind == "response"


def test_an_envelope_expires_at_its_second():
    envelope = compose(CALL, expires_at=100.0)
    assert not envelope.expired(now=99.9)
    assert envelope.expired(now=100.0)
    assert envelope.expired()
    assert not compose(CALL).expired()


def test_an_envelope_shows_neither_its_body_nor_its_session():
    shown = repr(compose({**CALL, "params": {"name": "secret"}}, session_id="sealed"))
    assert "secret" not in shown
    assert "sealed" not in shown
