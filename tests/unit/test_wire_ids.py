"""The ids of a named client's requests: unique over all its processes, and exchanged wherever they stand."""

from __future__ import annotations

from typing import Any

import pytest

from asyncmcp_kombu.client.wire_ids import WireIds, new_incarnation, read_wire_id
from asyncmcp_kombu.envelope import Envelope, compose
from asyncmcp_kombu.errors import ConfigurationError

SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"


def request(request_id: int | str, key: Any = None, **meta: Any) -> dict[str, Any]:
    named = meta if key is None else {**meta, "io.asyncmcp/requestId": key}
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": {"name": "add", "_meta": named}}


def response(request_id: Any, **result: Any) -> Envelope:
    return compose({"jsonrpc": "2.0", "id": request_id, "result": result})


def progress(token: Any, related: Any = None) -> Envelope:
    params = {"progressToken": token, "progress": 1}
    message = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
    return compose(message, related_request=related)


def test_a_later_incarnation_sorts_after_an_earlier_one() -> None:
    first, second = new_incarnation(), new_incarnation()
    assert first[:13] <= second[:13]
    assert first[13:] != second[13:]


def test_an_answer_finds_its_request_and_only_once() -> None:
    ids = WireIds()
    sent = ids.outgoing(request(1, "bill-7"))
    assert read_wire_id(sent["id"]) == (ids.incarnation, 1, "bill-7")
    answer = ids.incoming(response(sent["id"]))
    assert answer is not None
    assert answer.message["id"] == 1
    assert ids.incoming(response(sent["id"])) is None


def test_what_another_process_was_sent_is_not_taken_for_ours() -> None:
    old, ids = WireIds(), WireIds()
    asked, _ = old.outgoing(request(1, progressToken=1)), ids.outgoing(request(1, progressToken=1))
    assert ids.incoming(response(asked["id"])) is None
    assert ids.incoming(response(1)) is None
    assert ids.incoming(progress(asked["id"])) is None
    assert ids.incoming(progress(1, related=asked["id"])) is None
    acknowledged = {"jsonrpc": "2.0", "method": "n", "params": {"_meta": {SUBSCRIPTION: asked["id"]}}}
    assert ids.incoming(compose(acknowledged)) is None


def test_progress_cancellation_and_subscriptions_name_the_wire_id() -> None:
    ids = WireIds()
    sent = ids.outgoing(request(1, progressToken=1))
    assert sent["params"]["_meta"]["progressToken"] == sent["id"]
    heard = ids.incoming(progress(sent["id"], related=sent["id"]))
    assert heard is not None
    assert (heard.params["progressToken"], heard.related_request) == (1, 1)
    stamped = {"jsonrpc": "2.0", "method": "n", "params": {"_meta": {SUBSCRIPTION: sent["id"]}}}
    event = ids.incoming(compose(stamped))
    assert event is not None
    assert event.params["_meta"] == {SUBSCRIPTION: 1}
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    assert ids.outgoing(cancelled)["params"] == {"requestId": sent["id"]}
    assert ids.incoming(response(sent["id"])) is None


def test_progress_that_is_overtaken_by_its_response_still_arrives() -> None:
    ids = WireIds()
    sent = ids.outgoing(request(1, progressToken=1))
    ids.incoming(response(sent["id"]))
    assert ids.incoming(progress(sent["id"], related=sent["id"])) is not None


def test_a_request_id_that_is_used_again_gets_another_wire_id() -> None:
    ids = WireIds()
    first, second = ids.outgoing(request("a", "key")), ids.outgoing(request("a", "key"))
    assert first["id"] != second["id"]
    assert ids.unanswered() == ["a", "a"]


@pytest.mark.parametrize("key", ["", "a\nb", "x" * 129, 7])
def test_a_key_that_is_none_is_refused(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="requestId"):
        WireIds().outgoing(request(1, key))


def test_what_a_server_sends_of_its_own_passes() -> None:
    ids = WireIds()
    notification = compose({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info"}})
    assert ids.incoming(notification) == notification
    unknown = compose({"jsonrpc": "2.0", "id": None, "error": {"code": -1, "message": "unreadable"}})
    assert ids.incoming(unknown) == unknown


def test_whose_a_message_is_can_be_told_before_it_is_taken() -> None:
    ids, other = WireIds(), WireIds()
    sent = ids.outgoing(request(1, progressToken=1))["id"]
    assert (ids.made(response(sent)), other.made(response(sent))) == (True, False)
    assert (ids.made(progress(sent)), other.made(progress(sent))) == (True, False)
    assert ids.made(response(1)) is ids.made(response(None)) is False
    assert ids.made(compose({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})) is None


def test_initialize_announces_where_answers_go() -> None:
    ids = WireIds({"response_queue_url": "u", "_meta": {"responseQueueUrl": "u"}})
    sent = ids.outgoing({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"_meta": {"a": 1}}})
    assert sent["params"] == {"response_queue_url": "u", "_meta": {"a": 1, "responseQueueUrl": "u"}}
    assert ids.outgoing(request(1))["params"] == request(1)["params"]
