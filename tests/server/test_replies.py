"""What goes back for one request: to its address, with its ids, numbered without a gap."""

from __future__ import annotations

from mcp_types.jsonrpc import ErrorData

from asyncmcp_kombu.envelope import parse
from asyncmcp_kombu.errors import BrokerUnreachable, MessageTooLarge
from asyncmcp_kombu.server.replies import Replies
from tests.server.recording import Recording, request


def test_messages_are_numbered_from_0_and_the_response_is_last():
    publish = Recording()
    replies = Replies(request(), publish)
    replies.notify("notifications/progress", {"progress": 1})
    replies.notify("notifications/message", {"level": "info"})
    replies.result({"content": []})
    assert publish.sequences == [0, 1, 2]
    assert publish.messages[-1] == {"jsonrpc": "2.0", "id": 7, "result": {"content": []}}


def test_each_request_is_numbered_for_itself():
    publish = Recording()
    for _ in range(2):
        Replies(request(), publish).result({})
    assert publish.sequences == [0, 0]


def test_everything_goes_to_the_reply_address_and_carries_the_senders_ids():
    publish = Recording()
    replies = Replies(request(session_id="s1"), publish)
    replies.notify("notifications/progress", None)
    replies.error(ErrorData(code=-32601, message="no"))
    for queue, envelope in publish.sent:
        assert queue == "asyncmcp-t-reply-c1"
        assert (envelope.client_id, envelope.session_id) == ("c1", "s1")
        assert envelope.reply_to is envelope.expires_at is None


def test_a_notification_says_to_which_request_it_belongs():
    publish = Recording()
    Replies(request(), publish).notify("notifications/progress", {"progress": 1})
    (_, sent), *_ = publish.sent
    assert sent.message == {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
    assert parse(sent.body, sent.headers()).related_request == "7"


def test_a_notification_without_params_has_no_such_member():
    publish = Recording()
    Replies(request(), publish).notify("notifications/x", None)
    assert publish.messages == [{"jsonrpc": "2.0", "method": "notifications/x"}]


def test_an_error_keeps_code_message_and_data():
    publish = Recording()
    Replies(request(), publish).error(ErrorData(code=-32011, message="too late", data={"reason": "time-limit"}))
    error = {"code": -32011, "message": "too late", "data": {"reason": "time-limit"}}
    assert publish.messages == [{"jsonrpc": "2.0", "id": 7, "error": error}]


def test_what_is_too_large_to_be_sent_leaves_no_gap():
    publish = Recording(None, MessageTooLarge(2, 1))
    replies = Replies(request(), publish)
    replies.notify("notifications/progress", None)
    assert replies.result({"x": "y"}).exception() is not None
    replies.error(ErrorData(code=-32014, message="too large"))
    assert publish.sequences == [0, 1]


def test_what_may_have_been_sent_keeps_its_number():
    publish = Recording(BrokerUnreachable("perhaps"))
    replies = Replies(request(), publish)
    replies.notify("notifications/progress", None)
    replies.result({})
    assert publish.sequences == [1]


def test_without_an_address_nothing_is_sent_and_nobody_waits():
    publish = Recording()
    replies = Replies(request(reply_to=None), publish)
    assert replies.notify("notifications/progress", None).done()
    assert replies.result({}).result(0) is None
    assert publish.sent == []
