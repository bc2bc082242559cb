"""What is no acceptable envelope is refused, with the right code and with the id to answer to."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest

from asyncmcp_kombu.envelope import MAX_BYTES, parse
from asyncmcp_kombu.errors import (
    CeleryMessageRefused,
    EnvelopeError,
    MessageTooLarge,
    MirrorMismatch,
    NotJson,
    NotJsonRpc,
)

CALL = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "add"}}


def refusal(body: bytes | str, headers: dict | None = None, **options: int) -> EnvelopeError:
    with pytest.raises(EnvelopeError) as caught:
        parse(body, headers or {}, **options)
    return caught.value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b'{"jsonrpc": "2.0", "id": 1, "method": "ping"',
        b'{"jsonrpc": "2.0", "id": 1, "method": "ping"} {}',
        b'{"jsonrpc": "2.0", "id": 1, "result": {"value": NaN}}',
        b'{"jsonrpc": "2.0", "id": 1, "result": {"value": Infinity}}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "\xff\xfe"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "\\ud800"}',
        '{"jsonrpc": "2.0", "id": 1, "method": "\ud800"}',
        "\ufeff{}".encode("utf-16"),
        b"\x80\x04\x95\x02\x00\x00\x00\x00\x00\x00\x00}\x94.",
    ],
    ids=repr,
)
def test_what_is_not_utf8_json_is_a_parse_error(body):
    error = refusal(body)
    assert isinstance(error, NotJson)
    assert (error.code, error.request_id) == (-32700, None)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_nested_too_deep_is_a_parse_error(opening):
    closing = "]" if opening == "[" else "}"
    body = '{"jsonrpc":"2.0","id":1,"result":{"x":' + opening * 50_000 + "1" + closing * 50_000 + "}}"
    assert isinstance(refusal(body), NotJson)


@pytest.mark.parametrize("body", ["[]", "5", '"text"', "null", "true"])
def test_json_that_is_no_object_is_an_invalid_request(body):
    error = refusal(body)
    assert isinstance(error, NotJsonRpc)
    assert (error.code, error.request_id) == (-32600, None)


def test_a_batch_is_refused():
    error = refusal(json.dumps([CALL, CALL]))
    assert isinstance(error, NotJsonRpc)
    assert "an array" in str(error)


@pytest.mark.parametrize(
    ("change", "request_id"),
    [
        ({"jsonrpc": "1.0"}, 7),
        ({"jsonrpc": None}, 7),
        ({"jsonrpc": 2.0}, 7),
        ({"method": 5}, 7),
        ({"method": None}, 7),
        ({"params": []}, 7),
        ({"params": "text"}, 7),
        ({"params": None}, 7),
        ({"id": None}, None),
        ({"id": True}, None),
        ({"id": {}}, None),
        ({"id": 1.5}, None),
    ],
)
def test_a_request_of_another_shape_is_an_invalid_request(change, request_id):
    error = refusal(json.dumps({**CALL, **change}))
    assert isinstance(error, NotJsonRpc)
    assert (error.code, error.request_id) == (-32600, request_id)


@pytest.mark.parametrize(
    "message",
    [
        {"jsonrpc": "2.0"},
        {"jsonrpc": "2.0", "id": 7},
        {"jsonrpc": "2.0", "id": 7, "result": {}, "error": {"code": 1, "message": ""}},
        {"jsonrpc": "2.0", "id": 7, "result": 5},
        {"jsonrpc": "2.0", "id": 7, "result": None},
        {"jsonrpc": "2.0", "id": 7, "error": "text"},
    ],
    ids=json.dumps,
)
def test_a_response_of_another_shape_is_an_invalid_request(message):
    error = refusal(json.dumps(message))
    assert isinstance(error, NotJsonRpc)
    assert error.request_id == message.get("id")


@pytest.mark.parametrize(
    ("attribute", "value"), [("RequestId", "8"), ("Method", "tools/list"), ("Name", "multiply"), ("Name", "")]
)
def test_a_mirror_that_contradicts_the_body_is_refused(attribute, value):
    error = refusal(json.dumps(CALL), {attribute: value})
    assert isinstance(error, MirrorMismatch)
    assert (error.code, error.request_id) == (-32020, 7)
    assert attribute in str(error)


def test_another_message_type_is_refused():
    error = refusal(json.dumps(CALL), {"MessageType": "celery"})
    assert (error.code, error.request_id) == (-32600, 7)
    assert "'celery'" in str(error)
    assert "'jsonrpc'" in str(error)


@pytest.mark.parametrize("attribute", ["Timestamp", "ExpiresAt", "Sequence"])
@pytest.mark.parametrize("value", ["soon", "", "nan", "inf", [], {}, b"\xff"], ids=repr)
def test_an_attribute_that_should_be_a_number_and_is_none_is_refused(attribute, value):
    error = refusal(json.dumps(CALL), {attribute: value})
    assert (error.code, error.request_id) == (-32600, 7)
    assert attribute in str(error)


@pytest.mark.parametrize("value", [10**400, "1" * 5_000, "1e999"], ids=["int", "text", "e"])
def test_an_attribute_with_a_number_beyond_all_floats_is_refused(value):
    error = refusal(json.dumps(CALL), {"ExpiresAt": value})
    assert (error.code, error.request_id) == (-32600, 7)


@pytest.mark.parametrize("params", [[1], "text", 5])
def test_a_response_with_params_of_any_shape_is_taken_or_refused(params):
    message = {"jsonrpc": "2.0", "id": 7, "result": {}, "params": params}
    with suppress(EnvelopeError):
        parse(json.dumps(message), {})


def test_a_celery_message_is_known_by_its_header_whatever_its_body():
    error = refusal(b"[[1, 2], {}, {}]", {"task": "workers.add", "id": "x"})
    assert isinstance(error, CeleryMessageRefused)
    assert (error.code, error.error_data().data) == (-32600, {"reason": "celery-message"})


def test_a_celery_message_of_protocol_1_is_known_by_its_key():
    error = refusal(json.dumps({"task": "workers.add", "id": "x", "args": [], "kwargs": {}}))
    assert isinstance(error, CeleryMessageRefused)
    assert error.request_id == "x"


def test_a_task_key_is_refused_beside_valid_json_rpc_too():
    error = refusal(json.dumps({**CALL, "task": "workers.add"}))
    assert isinstance(error, CeleryMessageRefused)
    assert error.request_id == 7


def test_a_body_above_the_limit_is_refused_before_it_is_decoded():
    error = refusal(b"{" * 1_025, max_bytes=1_024)
    assert isinstance(error, MessageTooLarge)
    assert error.code == -32013
    assert error.details() == {"size": 1_025, "limit": 1_024}


def test_the_limit_counts_bytes_and_not_characters():
    body = json.dumps({**CALL, "id": "ü" * 600}, ensure_ascii=False)
    assert len(body) < 1_024 < len(body.encode())
    assert isinstance(refusal(body, max_bytes=1_024), MessageTooLarge)


def test_the_default_limit_is_that_of_sqs():
    assert MAX_BYTES == 1_048_576
    assert isinstance(refusal(b" " * (MAX_BYTES + 1)), MessageTooLarge)
