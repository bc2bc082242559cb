"""Ids of a session's own: what the SDK sends and gets is as it was, and nobody else's message is taken for ours."""

from __future__ import annotations

from typing import Any

import pytest

from asyncmcp_kombu.client.dialect import OwnIds
from asyncmcp_kombu.envelope import compose

STAMP = "io.modelcontextprotocol/subscriptionId"


def call(request_id: Any, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}


@pytest.mark.parametrize("request_id", [0, 7, "7", "seven", "with.dot"])
def test_an_answer_comes_back_under_the_id_that_was_asked_with(request_id: Any):
    ids = OwnIds()
    sent = ids.outgoing(call(request_id, _meta={"progressToken": request_id}))
    assert sent["id"] != request_id
    assert sent["params"]["_meta"]["progressToken"] == sent["id"]
    answer = compose({"jsonrpc": "2.0", "id": sent["id"], "result": {"_meta": {STAMP: sent["id"]}}})
    assert ids.made(answer)
    restored = ids.incoming(answer).message
    assert restored == {"jsonrpc": "2.0", "id": request_id, "result": {"_meta": {STAMP: request_id}}}
    progress = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": sent["id"]}}
    envelope = compose(progress, related_request=sent["id"])
    assert ids.made(envelope)
    assert ids.incoming(envelope).params == {"progressToken": request_id}
    assert ids.incoming(envelope).related_request == request_id


def test_a_cancellation_names_the_id_that_went_out():
    ids = OwnIds()
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 3}}
    assert ids.outgoing(cancel)["params"]["requestId"] == ids.outgoing(call(3))["id"]


def test_what_belongs_to_another_session_is_not_ours():
    ids, earlier = OwnIds(), OwnIds()
    for own_id in (1, "1", earlier.outgoing(call(1))["id"], None):
        assert ids.made(compose({"jsonrpc": "2.0", "id": own_id, "result": {}})) is False
    token = earlier.outgoing(call(1))["id"]
    stale = compose({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token}})
    assert ids.made(stale) is False
    assert ids.made(compose({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})) is None


def test_the_servers_own_ids_pass_as_they_are():
    ids = OwnIds()
    asked = {"jsonrpc": "2.0", "id": "q1", "method": "ping"}
    assert ids.incoming(compose(asked)).message == asked
    answer = {"jsonrpc": "2.0", "id": "q1", "result": {}}
    assert ids.outgoing(answer) == answer


def test_the_address_is_announced_in_both_forms_of_asyncmcp():
    ids = OwnIds({"response_queue_url": "u", "_meta": {"responseQueueUrl": "u"}})
    params = ids.outgoing({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"capabilities": {}}})["params"]
    assert params == {"capabilities": {}, "response_queue_url": "u", "_meta": {"responseQueueUrl": "u"}}
    assert "response_queue_url" not in ids.outgoing(call(1))["params"]
