"""Serving: a server as one process serves it, and the SDK's driver for one exchange with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mcp.server.connection import Connection
from mcp.server.lowlevel.server import Server
from mcp.server.runner import ServerRunner, aclose_shielded, serve_one
from mcp_types.jsonrpc import ErrorData

from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.server.back_channel import BackChannel
from asyncmcp_kombu.server.context import QueueDispatchContext
from asyncmcp_kombu.server.replies import Publish
from asyncmcp_kombu.server.sessions import Sessions

Answer = dict[str, Any] | ErrorData | None
"""The result of a request, the error to send instead, or None when nothing is to be sent (any more)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A server as one process serves it.

    Attributes:
        lifespan_state: what the server's lifespan, entered in this process, gave.
        fans_out: the server's change notifications go to the fan-out exchange, where listening clients hear them.
    """

    server: Server[Any]
    lifespan_state: Any
    sessions: Sessions
    back_channel: BackChannel
    publish: Publish
    fans_out: bool = False

    async def answer(self, request: Envelope, context: QueueDispatchContext, connection: Connection) -> dict[str, Any]:
        """The result of a request; raises what its handler raises."""
        method, params = request.method or "", request.message.get("params")
        try:
            return await serve_one(
                self.server, context, method, params, connection=connection, lifespan_state=self.lifespan_state
            )
        finally:
            context.finished = True

    async def take(self, notification: Envelope, context: QueueDispatchContext, connection: Connection) -> None:
        """Hand a notification to the server."""
        method, params = notification.method or "", notification.message.get("params")
        try:
            await ServerRunner(self.server, connection, self.lifespan_state).on_notify(context, method, params)
        finally:
            await aclose_shielded(connection)
