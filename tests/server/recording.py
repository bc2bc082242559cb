"""Where replies go in these tests: a list, as if a broker had accepted them."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from mcp.server.lowlevel.server import Server
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    PROTOCOL_VERSION_META_KEY,
)

from asyncmcp_kombu.envelope import Envelope, compose
from asyncmcp_kombu.server.back_channel import BackChannel
from asyncmcp_kombu.server.serving import Serving
from asyncmcp_kombu.server.sessions import Sessions
from asyncmcp_kombu.topology import Topology

VERSION = "2026-07-28"
META = {
    PROTOCOL_VERSION_META_KEY: VERSION,
    CLIENT_INFO_META_KEY: {"name": "test", "version": "1"},
    CLIENT_CAPABILITIES_META_KEY: {},
}


KEYS = [b"0123456789abcdef0123456789abcdef"]


def serving(server: Server[Any], lifespan_state: Any = None, publish: Any = None, **options: Any) -> Serving:
    """A server as a process serves it, whose way to clients is `publish`. It has no broker for a back channel."""

    def no_broker() -> Any:
        raise AssertionError("this test has no broker")

    return Serving(
        server=server,
        lifespan_state=lifespan_state,
        sessions=Sessions("t", KEYS),
        back_channel=BackChannel(Topology("t"), no_broker, 1_000_000),
        publish=publish or Recording(),
        **options,
    )


class Recording:
    """A `Publish` that accepts everything but what `outcomes` says."""

    def __init__(self, *outcomes: Exception | None) -> None:
        self.sent: list[tuple[str, Envelope]] = []
        self._outcomes = list(outcomes)

    def __call__(self, queue: str, envelope: Envelope) -> Future[None]:
        done: Future[None] = Future()
        outcome = self._outcomes.pop(0) if self._outcomes else None
        if outcome is None:
            self.sent.append((queue, envelope))
            done.set_result(None)
        else:
            done.set_exception(outcome)
        return done

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [dict(envelope.message) for _, envelope in self.sent]

    @property
    def sequences(self) -> list[int | None]:
        return [envelope.sequence for _, envelope in self.sent]


def request(
    method: str = "tools/call", params: dict[str, Any] | None = None, *, meta: Any = META, **attributes: Any
) -> Envelope:
    """A request as a client of 2026-07-28 sends it; `meta=None` leaves `_meta` out."""
    members = {**(params or {}), **({} if meta is None else {"_meta": meta})}
    defaults = {"client_id": "c1", "reply_to": "asyncmcp-t-reply-c1"}
    message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": members}
    return compose(message, **{**defaults, **attributes})
