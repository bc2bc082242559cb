"""Dispatch: one request through the SDK's single-exchange driver.

Since MCP 2026-07-28 every request carries its protocol version, client info and capabilities in
`params._meta`, so any process can serve any request. Validation, result stamping, error mapping: all the
SDK's (`classify_inbound_request`, `Connection.from_envelope`, `serve_one`, `modern_error_data`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
from mcp.server.connection import Connection
from mcp.server.lowlevel.server import Server
from mcp.server.runner import modern_error_data, serve_one
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.inbound import InboundLadderRejection, classify_inbound_request
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp.shared.message import MessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import ProgressToken, RequestId, UnsupportedProtocolVersionErrorData
from mcp_types.jsonrpc import UNSUPPORTED_PROTOCOL_VERSION, ErrorData
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from asyncmcp_kombu.broker.threads import wait_for
from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.server.replies import Replies

Answer = dict[str, Any] | ErrorData
"""The result of a request, or the error to send instead."""


@dataclass(slots=True)
class QueueDispatchContext:
    """The SDK's `DispatchContext` for a request from a queue: notifications go to its reply address."""

    replies: Replies
    request_id: RequestId | None
    progress_token: ProgressToken | None
    transport: TransportContext = field(default_factory=lambda: TransportContext(kind="kombu", can_send_request=False))
    message_metadata: MessageMetadata = None
    cancel_requested: anyio.Event = field(default_factory=anyio.Event)
    can_send_request: bool = False
    finished: bool = False

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """A 2026-07-28 server sends no requests: it returns `InputRequiredResult` instead."""
        raise NoBackChannelError(method)

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        """Returns when the broker has accepted the notification; does nothing once the request is answered."""
        if not self.finished:
            await wait_for(self.replies.notify(method, params))

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        if self.progress_token is None:
            return
        params: dict[str, Any] = {"progressToken": self.progress_token, "progress": progress}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = message
        await self.notify("notifications/progress", params)


async def dispatch(server: Server[Any], lifespan_state: Any, request: Envelope, replies: Replies) -> Answer:
    """Serve one request and return its answer; never raises but for cancellation.

    Notifications that the handler sends are published before this returns; the answer is the caller's to
    send.
    """
    method, params = request.method or "", request.message.get("params")
    if method == "initialize":
        return _handshake_refused(params)
    route = classify_inbound_request(request.message)
    if isinstance(route, InboundLadderRejection):
        return ErrorData(code=route.code, message=route.message, data=route.data)
    context = QueueDispatchContext(replies, request.request_id, progress_token_from_params(params))
    connection = Connection.from_envelope(route.protocol_version, route.client_info, route.client_capabilities)
    try:
        return await serve_one(server, context, method, params, connection=connection, lifespan_state=lifespan_state)
    except Exception as error:
        return modern_error_data(error)
    finally:
        context.finished = True


def _handshake_refused(params: Mapping[str, Any] | None) -> ErrorData:
    supported = list(MODERN_PROTOCOL_VERSIONS)
    requested = str((params or {}).get("protocolVersion"))
    return ErrorData(
        code=UNSUPPORTED_PROTOCOL_VERSION,
        message=f"this fleet serves {', '.join(supported)}, whose requests need no initialize handshake",
        data=UnsupportedProtocolVersionErrorData(supported=supported, requested=requested).model_dump(mode="json"),
    )
