"""What the SDK has no public name for: the one place in this room that uses its private names.

Private names of mcp 2.3 used here: `ServerSession._request_outbound` and `ServerSession._connection`, because the
typed methods of a session cannot pass on a notification or request that they do not know;
`mcp.shared._request_clock.request_clock`, by which the queue's transport learns when a caller gives up (see
`client/deadline.py`); `mcp.shared._stream_protocols`, types only. tests/bridge/test_sdk.py fails when they go.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.shared._request_clock import request_clock
from mcp.shared._stream_protocols import ReadStream, WriteStream
from mcp.shared.dispatcher import DispatchContext

__all__ = ["Context", "ReadStream", "WriteStream", "connection_of", "gives_up_after", "request_channel"]

Context = ServerRequestContext[Any, Any]


def request_channel(ctx: Context) -> DispatchContext[Any]:
    """The way back to the caller that belongs to its request: on HTTP the stream that answers its POST."""
    return ctx.session._request_outbound  # pyright: ignore[reportPrivateUsage]


def connection_of(ctx: Context) -> Connection:
    """The connection that the request came over: of a handshake-era client it lives as long as its session."""
    return ctx.session._connection  # pyright: ignore[reportPrivateUsage]


def gives_up_after(seconds: float) -> AbstractContextManager[object]:
    """A request that is written in this block is marked to be dropped unrun after so many seconds."""
    return request_clock(seconds)
