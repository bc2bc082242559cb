"""Which of the server's events a session gets, in either era."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY

from asyncmcp_kombu.client.listening import Listening
from asyncmcp_kombu.envelope import Envelope, compose

TOOLS = compose({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}, audience="*")


def updated(uri: str) -> Envelope:
    message = {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri}}
    return compose(message, audience="*")


def listen(request_id: Any = "listen-1", **wanted: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": "subscriptions/listen", "params": {"notifications": wanted}}


def acknowledged(subscription_id: Any = "listen-1", **honored: Any) -> Envelope:
    params = {"notifications": honored, "_meta": {SUBSCRIPTION_ID_META_KEY: subscription_id}}
    message = {"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params}
    return compose(message, related_request=str(subscription_id))


@pytest.fixture
def listening() -> Listening:
    return Listening()


def test_a_session_that_asked_for_nothing_gets_nothing(listening: Listening):
    assert not listening.active
    assert listening.hears(TOOLS) == []


@pytest.mark.parametrize("subscription_id", ["listen-1", 7, "7"])
def test_an_event_is_stamped_with_the_subscription_as_the_client_named_it(listening: Listening, subscription_id: Any):
    listening.sends(listen(subscription_id, toolsListChanged=True))
    assert listening.active
    assert listening.receives(acknowledged(subscription_id, toolsListChanged=True)) == []
    (message,) = listening.hears(TOOLS)
    assert message["method"] == "notifications/tools/list_changed"
    assert message["params"]["_meta"] == {SUBSCRIPTION_ID_META_KEY: subscription_id}


def test_only_what_was_acknowledged_is_delivered(listening: Listening):
    listening.sends(listen(toolsListChanged=True, resourceSubscriptions=["a://1", "a://2"]))
    listening.receives(acknowledged(resourceSubscriptions=["a://1"]))
    assert listening.hears(TOOLS) == []
    assert listening.hears(updated("a://2")) == []
    (message,) = listening.hears(updated("a://1"))
    assert message["params"]["uri"] == "a://1"


def test_what_came_before_the_acknowledgement_follows_it(listening: Listening):
    listening.sends(listen(toolsListChanged=True))
    assert listening.hears(TOOLS) == []
    assert listening.hears(updated("a://1")) == []
    (message,) = listening.receives(acknowledged(toolsListChanged=True))
    assert message["method"] == "notifications/tools/list_changed"


def test_each_of_two_subscriptions_gets_its_own_copy(listening: Listening):
    for subscription_id in ("listen-1", "listen-2"):
        listening.sends(listen(subscription_id, toolsListChanged=True))
        listening.receives(acknowledged(subscription_id, toolsListChanged=True))
    stamps = [message["params"]["_meta"][SUBSCRIPTION_ID_META_KEY] for message in listening.hears(TOOLS)]
    assert stamps == ["listen-1", "listen-2"]


@pytest.mark.parametrize("end", ["cancelled", "result", "error"])
def test_a_subscription_that_has_ended_gets_nothing_more(listening: Listening, end: str):
    listening.sends(listen(toolsListChanged=True))
    listening.receives(acknowledged(toolsListChanged=True))
    if end == "cancelled":
        cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "listen-1"}}
        listening.sends(cancelled)
    else:
        listening.receives(compose({"jsonrpc": "2.0", "id": "listen-1", end: {}}))
    assert not listening.active
    assert listening.hears(TOOLS) == []


def test_a_handshake_session_gets_the_lists_that_its_server_promised(listening: Listening):
    listening.sends({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}})
    result = {"capabilities": {"tools": {"listChanged": True}, "prompts": {}, "resources": {"listChanged": False}}}
    listening.receives(compose({"jsonrpc": "2.0", "id": 0, "result": result}))
    assert listening.active
    assert listening.hears(TOOLS) == [TOOLS.message]
    prompts = compose({"jsonrpc": "2.0", "method": "notifications/prompts/list_changed"}, audience="*")
    assert listening.hears(prompts) == []


def test_a_handshake_session_gets_the_resources_that_it_subscribed_to(listening: Listening):
    subscribe = {"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": "a://1"}}
    listening.sends(subscribe)
    assert listening.hears(updated("a://1")) == [updated("a://1").message]
    assert listening.hears(updated("a://2")) == []
    listening.sends({**subscribe, "id": 2, "method": "resources/unsubscribe"})
    assert listening.hears(updated("a://1")) == []
    assert not listening.active


def test_what_is_no_change_event_is_not_passed_on(listening: Listening):
    listening.sends(listen(toolsListChanged=True))
    listening.receives(acknowledged(toolsListChanged=True))
    assert listening.hears(compose({"jsonrpc": "2.0", "method": "notifications/else"}, audience="*")) == []
