"""What anybody can write to the request queue, and what happens to it: refused, answered where possible."""

from __future__ import annotations

import json
import queue
from collections.abc import Generator
from typing import Any

import pytest
from kombu import Connection, Producer

from asyncmcp_kombu.broker import queues
from asyncmcp_kombu.broker.connection import connect
from asyncmcp_kombu.broker.inbox import Inbox
from asyncmcp_kombu.topology import new_client_id
from tests.fleet.conftest import Fleet

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Writer:
    """Writes raw messages to the request queue and reads what comes back."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet, self.reply_to = fleet, fleet.topology.reply(new_client_id())
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.inbox = Inbox(self.connect, queues.reply_queue(self.reply_to), self._on_message)

    def connect(self) -> Connection:
        return connect(self.fleet.broker_url, self.fleet.settings)

    def _on_message(self, message: Any) -> None:
        self._answers.put(json.loads(message.body))
        message.ack()

    def write(self, body: Any, *, reply: bool = True, **headers: Any) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        headers = {"MessageType": "jsonrpc", **({"ReplyTo": self.reply_to} if reply else {}), **headers}
        with self.connect() as connection:
            Producer(connection.channel(), auto_declare=False).publish(
                text,
                exchange="",
                routing_key=self.fleet.topology.requests,
                headers={key: value for key, value in headers.items() if value is not None},
                content_type="application/json",
                content_encoding="utf-8",
            )

    def answer(self) -> dict[str, Any]:
        return self._answers.get(timeout=15)


@pytest.fixture
def writer(fleet: Fleet) -> Generator[Writer]:
    one = Writer(fleet)
    one.inbox.start()
    yield one
    one.inbox.close()


def add(request_id: Any = 1) -> dict[str, Any]:
    params = {"name": "add", "arguments": {"a": 1, "b": 2}, "_meta": META}
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}


def test_a_proper_request_is_answered(writer: Writer) -> None:
    writer.write(add("abc"))
    answer = writer.answer()
    assert answer["id"] == "abc"
    assert answer["result"]["structuredContent"] == {"result": 3}


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        ("{not json", {}, -32700),
        ([add()], {}, -32600),
        ({"jsonrpc": "1.0", "id": 1, "method": "tools/list"}, {}, -32600),
        ({**add(), "task": "add"}, {}, -32600),
        (add(), {"task": "add", "id": "1"}, -32600),
        (add(), {"Method": "tools/list"}, -32020),
        (add(), {"Name": "delete_everything"}, -32020),
        (add(), {"RequestId": "2"}, -32020),
        (add(), {"MessageType": "celery"}, -32600),
        ({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, {}, -32602),
        (
            {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}},
            {"SessionId": "made up"},
            -32600,
        ),
        ({"jsonrpc": "2.0", "id": 1, "method": "no/such", "params": {"_meta": META}}, {}, -32601),
    ],
    ids=[
        "not-json",
        "batch",
        "version",
        "task-key",
        "task-header",
        "method",
        "name",
        "id",
        "type",
        "no-meta",
        "session",
        "404",
    ],
)
def test_a_refused_message_is_answered_with_its_code(writer: Writer, body: Any, headers: Any, code: int) -> None:
    writer.write(body, **headers)
    assert writer.answer()["error"]["code"] == code
    writer.write(add("after"))
    assert writer.answer()["id"] == "after"  # and the worker goes on


def test_a_celery_message_in_kombus_own_form_is_never_run(writer: Writer) -> None:
    headers = {"task": "existing.multiply", "id": "evil", "lang": "py", "MessageType": None}
    writer.write([[6, 7], {}, {"callbacks": None}], **headers)
    assert writer.answer()["error"]["data"]["reason"] == "celery-message"
    assert "existing.multiply[evil]" not in writer.fleet.worker.logs()


@pytest.mark.parametrize("address", ["somebody-elses-queue", "asyncmcp-workers-reply-x", "", "../x", "x" * 200])
def test_a_reply_address_outside_the_pattern_is_refused_and_kept(writer: Writer, address: str) -> None:
    mark = new_client_id()
    writer.write({**add(), "mark": mark}, ReplyTo=address)
    assert mark in dead_letter_with(writer, mark)


def test_what_cannot_be_answered_is_kept_as_a_dead_letter(writer: Writer) -> None:
    mark = new_client_id()
    writer.write("{not json " + mark, reply=False)
    assert mark in dead_letter_with(writer, mark)


def dead_letter_with(writer: Writer, mark: str) -> str:
    """The dead letter that has the mark in it; it comes within seconds."""
    found: queue.SimpleQueue[str] = queue.SimpleQueue()

    def on_message(message: Any) -> None:
        text = message.body if isinstance(message.body, str) else bytes(message.body).decode()
        found.put(text)
        message.ack()

    inbox = Inbox(writer.connect, queues.dead_queue(writer.fleet.topology), on_message, temporary=False)
    inbox.start()
    try:
        while mark not in (text := found.get(timeout=15)):
            pass
        return text
    finally:
        inbox.close()
