"""What the client's end of one session knows: its session id, its version, and who asked it what."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from mcp.shared.dispatcher import coerce_request_id
from mcp_types import PROTOCOL_VERSION_META_KEY, RequestId

from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.errors import AsyncMcpError
from asyncmcp_kombu.topology import Routes

_REMEMBERED = 1_024
"""Requests of the server of which it is remembered who asked."""


class Session:
    """One session of a client with a server. Used in one event loop."""

    def __init__(self, client_id: str, routes: Routes, *, tells_version: bool = True) -> None:
        self.client_id = client_id
        self.routes, self._tells_version = routes, tells_version
        self.session_id: str | None = None
        """Of the handshake versions: what the server said last, to be sent back with every message."""
        self.on_close_stream: Callable[[RequestId], None] | None = None
        """Set by a bridge: called with the request whose HTTP stream its handler wants closed."""
        self.ended: AsyncMcpError | None = None
        """Why nothing can be sent any more."""
        self._version: str | None = None
        self._initialize: RequestId | None = None
        self._asked: OrderedDict[RequestId, str] = OrderedDict()

    def sends(self, message: Mapping[str, Any]) -> None:
        """Take note of a message that is about to be sent."""
        if message.get("method") == "initialize":
            self._initialize = message.get("id")

    def receives(self, envelope: Envelope) -> None:
        """Take note of a message that has arrived."""
        if envelope.session_id is not None:
            self.session_id = envelope.session_id
        request_id: RequestId | None = envelope.message.get("id")
        if request_id is None:
            return
        if envelope.kind == "request":
            route = self.routes.reply_route(envelope.reply_to)
            if route is not None:
                self._asked[coerce_request_id(request_id)] = route
                if len(self._asked) > _REMEMBERED:
                    self._asked.popitem(last=False)
        elif request_id == self._initialize:
            version = (envelope.message.get("result") or {}).get("protocolVersion")
            self._version = version if isinstance(version, str) else None

    def queue_for(self, message: Mapping[str, Any]) -> str:
        """Where a message goes: an answer, or the progress of one, to who asked; else to the request queue."""
        if "method" not in message:
            asked_by = message.get("id")
        elif message["method"] == "notifications/progress":
            asked_by = (message.get("params") or {}).get("progressToken")
        else:
            asked_by = None
        return self._asked.get(coerce_request_id(asked_by) if asked_by is not None else "", self.routes.requests)

    def version_of(self, message: Mapping[str, Any]) -> str | None:
        """The protocol version that a message is written for, as far as it is to be said beside the message."""
        if not self._tells_version:
            return None
        version = ((message.get("params") or {}).get("_meta") or {}).get(PROTOCOL_VERSION_META_KEY)
        return version if isinstance(version, str) else self._version
