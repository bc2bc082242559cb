"""For any input at all: parse refuses with an EnvelopeError or returns what compose would send."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from asyncmcp_kombu.envelope import compose, parse
from asyncmcp_kombu.errors import EnvelopeError

# Text that UTF-8 can carry: no lone surrogates.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
FINITE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
MEMBERS = st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error", "task"])
NEARLY = st.dictionaries(MEMBERS, JSON | st.just("2.0") | st.just("tools/call"), max_size=6)
ATTRIBUTES = st.sampled_from(
    [
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
        "task",
    ]
)
HEADERS = st.dictionaries(ATTRIBUTES | st.text(), JSON | st.binary(), max_size=6)
MESSAGES = st.one_of(
    st.builds(
        lambda id_, method, params: {"jsonrpc": "2.0", "id": id_, "method": method, "params": params},
        st.integers() | TEXT,
        TEXT,
        st.dictionaries(TEXT, FINITE, max_size=4),
    ),
    st.builds(lambda method: {"jsonrpc": "2.0", "method": method}, TEXT),
    st.builds(
        lambda id_, result: {"jsonrpc": "2.0", "id": id_, "result": result},
        st.integers() | TEXT,
        st.dictionaries(TEXT, FINITE, max_size=4),
    ),
)
NUMBERS = st.floats(min_value=0, max_value=4e9).map(lambda number: round(number, 3))
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1)


@given(st.binary() | st.text(), HEADERS)
@settings(max_examples=150)
def test_arbitrary_bytes_and_text_raise_nothing_but_an_envelope_error(body: bytes | str, headers: dict[str, Any]):
    with suppress(EnvelopeError):
        parse(body, headers)


@given(JSON | NEARLY, HEADERS)
@settings(max_examples=200)
def test_arbitrary_json_raises_nothing_but_an_envelope_error(document: Any, headers: dict[str, Any]):
    with suppress(EnvelopeError):
        envelope = parse(json.dumps(document), headers)
        # What was accepted can be looked at and sent on.
        assert envelope.kind in {"request", "notification", "response"}
        assert all(isinstance(value, str | int | float) for value in envelope.headers().values())
        assert envelope.expired() in {True, False}


@given(NEARLY, HEADERS)
@settings(max_examples=150)
def test_a_refusal_can_be_put_on_the_wire(document: dict[str, Any], headers: dict[str, Any]):
    try:
        parse(json.dumps(document), headers)
    except EnvelopeError as error:
        data = error.error_data()
        data.model_dump_json()
        assert data.code < -32000
        assert error.request_id is None or error.request_id == document.get("id")


@given(
    MESSAGES,
    st.none() | WORDS,
    st.none() | WORDS,
    st.none() | NUMBERS,
    st.none() | st.integers(min_value=0, max_value=2**53),
)
@settings(max_examples=150)
def test_what_was_composed_is_parsed_as_it_was(
    message: dict[str, Any],
    client_id: str | None,
    reply_to: str | None,
    expires_at: float | None,
    sequence: int | None,
):
    sent = compose(message, client_id=client_id, reply_to=reply_to, expires_at=expires_at, sequence=sequence)
    for headers in (sent.headers(), {name: str(value) for name, value in sent.headers().items()}):
        received = parse(sent.body, headers)
        assert received.body == sent.body
        assert received.message == message
        assert (received.client_id, received.reply_to) == (client_id, reply_to)
        assert (received.expires_at, received.sequence) == (expires_at, sequence)
        assert parse(received.body, received.headers()) == received
