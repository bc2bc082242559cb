"""A server made of one inbox and one publisher: answers what clients send, without the MCP SDK's server."""

from __future__ import annotations

import queue as queues
from collections.abc import Callable
from typing import Any

from kombu import Connection
from mcp.shared.message import SessionMessage
from mcp_types.jsonrpc import JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from asyncmcp_kombu.broker.connection import connect
from asyncmcp_kombu.broker.inbox import Inbox
from asyncmcp_kombu.broker.publisher import Publisher
from asyncmcp_kombu.broker.queues import request_queue
from asyncmcp_kombu.envelope import Envelope, parse
from asyncmcp_kombu.server.replies import Replies
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.topology import Topology

SOON = 10.0

Answer = Callable[[Envelope, Replies], None]


def echo(request: Envelope, replies: Replies) -> None:
    """Answer a request with its params; ignore notifications."""
    if request.kind == "request":
        replies.result({"echo": dict(request.params)})


class Responder:
    """Serves from entering to leaving; what arrived is in `requests`."""

    def __init__(self, settings: Settings, answer: Answer = echo) -> None:
        def new_connection() -> Connection:
            return connect(settings.broker_url.get_secret_value(), settings)

        self.requests: queues.Queue[Envelope] = queues.Queue()
        self.answer = answer
        self.publisher = Publisher(new_connection)
        topology = Topology(settings.server, settings.prefix)
        self._inbox = Inbox(new_connection, request_queue(topology), self._on_message, temporary=True)

    def _on_message(self, message: Any) -> None:
        request = parse(message.body, message.headers)
        self.requests.put(request)
        self.answer(request, Replies(request, self.publisher.publish))
        message.ack()

    def __enter__(self) -> Responder:
        self._inbox.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._inbox.close()
        self.publisher.close()


def asking(request_id: int | str, **params: Any) -> SessionMessage:
    return SessionMessage(JSONRPCRequest(jsonrpc="2.0", id=request_id, method="test/echo", params=params))


def telling(method: str = "notifications/test") -> SessionMessage:
    return SessionMessage(JSONRPCNotification(jsonrpc="2.0", method=method))


def result_of(item: SessionMessage | Exception) -> tuple[int | str, Any]:
    """Id and echoed params of a response."""
    assert isinstance(item, SessionMessage), item
    assert isinstance(item.message, JSONRPCResponse), item.message
    return item.message.id, item.message.result["echo"]
