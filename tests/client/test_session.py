"""What the client's end of a session remembers, and where its messages go."""

from __future__ import annotations

from typing import Any

from asyncmcp_kombu.client.session import Session
from asyncmcp_kombu.envelope import compose
from asyncmcp_kombu.topology import Topology

TOPOLOGY = Topology("workers")
INBOX = TOPOLOGY.reply("0123456789abcdef")
ASKED = {"jsonrpc": "2.0", "id": "q1", "method": "elicitation/create", "params": {}}


def session() -> Session:
    return Session("c1", TOPOLOGY)


def progress(token: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": 1}}


def test_requests_and_notifications_go_to_the_request_queue():
    one = session()
    assert one.queue_for({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}) == TOPOLOGY.requests
    assert one.queue_for({"jsonrpc": "2.0", "method": "notifications/initialized"}) == TOPOLOGY.requests


def test_an_answer_and_its_progress_go_to_who_asked():
    one = session()
    one.receives(compose(ASKED, reply_to=INBOX))
    assert one.queue_for(progress("q1")) == INBOX
    assert one.queue_for({"jsonrpc": "2.0", "id": "q1", "result": {}}) == INBOX
    assert one.queue_for(progress("else")) == TOPOLOGY.requests


def test_an_answer_goes_into_no_queue_but_the_servers_own():
    one = session()
    for address in (None, "somebody-elses-queue", TOPOLOGY.requests, TOPOLOGY.jobs):
        one.receives(compose(ASKED, reply_to=address))
        assert one.queue_for({"jsonrpc": "2.0", "id": "q1", "result": {}}) == TOPOLOGY.requests


def test_the_newest_session_id_is_kept():
    one = session()
    one.receives(compose({"jsonrpc": "2.0", "id": 1, "result": {}}, session_id="first"))
    one.receives(compose({"jsonrpc": "2.0", "id": 2, "result": {}}))
    assert one.session_id == "first"
    one.receives(compose({"jsonrpc": "2.0", "id": 3, "result": {}}, session_id="second"))
    assert one.session_id == "second"


def test_the_version_is_that_of_the_message_or_of_the_handshake():
    one = session()
    modern = {"method": "tools/list", "params": {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}}
    plain = {"method": "tools/list"}
    assert (one.version_of(modern), one.version_of(plain)) == ("2026-07-28", None)
    one.sends({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}})
    one.receives(compose({"jsonrpc": "2.0", "id": 0, "result": {"protocolVersion": "2025-06-18"}}))
    assert one.version_of(plain) == "2025-06-18"


def test_it_is_bounded_what_is_remembered_of_who_asked():
    one = session()
    for number in range(2_000):
        one.receives(compose({**ASKED, "id": f"q{number}"}, reply_to=INBOX))
    assert one.queue_for({"jsonrpc": "2.0", "id": "q0", "result": {}}) == TOPOLOGY.requests
    assert one.queue_for({"jsonrpc": "2.0", "id": "q1999", "result": {}}) == INBOX
