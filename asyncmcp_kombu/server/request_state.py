"""requestState on a fleet: sealed with the server's key, so that the next round may go to another process.

An `MCPServer` seals it with a key of its own process unless it is told otherwise.

Private name of mcp 2.3 used here: `RequestStateBoundary._security`. tests/server/test_request_state.py fails when
it goes.
"""

from __future__ import annotations

from typing import Any

from mcp.server.lowlevel.server import Server
from mcp.server.request_state import (
    AESGCMRequestStateCodec,
    InvalidRequestState,
    RequestStateBoundary,
    RequestStateCodec,
)

from asyncmcp_kombu.server.keys import derived


class SharedCodec:
    """Seals with the keys that all processes share; opens what the server's own codec has sealed, too."""

    def __init__(self, keys: list[bytes], own: RequestStateCodec) -> None:
        self._shared, self._own = AESGCMRequestStateCodec(derived(keys, "request-state")), own

    def seal(self, payload: bytes) -> str:
        return self._shared.seal(payload)

    def unseal(self, token: str) -> bytes:
        try:
            return self._shared.unseal(token)
        except InvalidRequestState:
            return self._own.unseal(token)


def share_request_state(server: Server[Any], keys: list[bytes], *, at_least: float = 0.0) -> None:
    """Have the server seal requestState with the shared keys; a codec that its author wrote is left alone.

    Args:
        at_least: seconds for which a sealed state must be accepted: a task asks, and is answered the next day.
    """
    for middleware in server.middleware:
        if isinstance(middleware, RequestStateBoundary):
            security = middleware._security  # pyright: ignore[reportPrivateUsage]
            security.ttl = max(security.ttl, at_least)
            if isinstance(security.codec, AESGCMRequestStateCodec):
                security.codec = SharedCodec(keys, security.codec)
