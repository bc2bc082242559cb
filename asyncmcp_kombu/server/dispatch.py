"""Dispatch: one message from a client through the SDK's single-exchange driver, in the era that it was written for.

Since MCP 2026-07-28 every request carries its protocol version, client info and capabilities in `params._meta`; in
the versions before, its SessionId says what `initialize` agreed on. So any process can serve any request.
Validation, result stamping, error mapping: all the SDK's (`classify_inbound_request`, `Connection`, `serve_one`,
`modern_error_data`).
"""

from __future__ import annotations

from collections.abc import Mapping

import anyio
from mcp.server.connection import Connection
from mcp.server.runner import modern_error_data
from mcp.shared.inbound import InboundLadderRejection, classify_inbound_request
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp_types import PROTOCOL_VERSION_META_KEY
from mcp_types.jsonrpc import ErrorData
from mcp_types.version import LATEST_MODERN_VERSION

from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.errors import SessionRefused
from asyncmcp_kombu.server.context import QueueDispatchContext
from asyncmcp_kombu.server.handshake import WITHOUT_SESSION, serve_handshake
from asyncmcp_kombu.server.replies import Reply
from asyncmcp_kombu.server.serving import Answer, Serving

_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"


async def dispatch(serving: Serving, message: Envelope, replies: Reply) -> Answer:
    """Serve one request, or take one notification, and return the answer; never raises but for cancellation.

    What the handler sends on the way is published before this returns; the answer is the caller's to send.
    """
    try:
        if _is_modern(message):
            return await _serve_modern(serving, message, replies)
        return await serve_handshake(serving, message, replies)
    except SessionRefused as error:
        return error.error_data() if message.kind == "request" else None
    except Exception as error:
        return modern_error_data(error)


def _is_modern(message: Envelope) -> bool:
    """Whether it is of 2026-07-28 or later, or of no version at all, which the SDK's classification then says."""
    meta = message.params.get("_meta")
    if message.kind == "request" and isinstance(meta, Mapping) and PROTOCOL_VERSION_META_KEY in meta:
        return message.method != "initialize"
    return message.session_id is None and message.method not in WITHOUT_SESSION


async def _serve_modern(serving: Serving, message: Envelope, replies: Reply) -> Answer:
    context = QueueDispatchContext(
        replies=replies,
        request_id=message.message.get("id"),
        progress_token=progress_token_from_params(message.params),
    )
    if message.kind != "request":
        await serving.take(message, context, Connection.from_envelope(LATEST_MODERN_VERSION, None, None))
        return None
    route = classify_inbound_request(message.message)
    if isinstance(route, InboundLadderRejection):
        return ErrorData(code=route.code, message=route.message, data=route.data)
    connection = Connection.from_envelope(route.protocol_version, route.client_info, route.client_capabilities)
    if message.method == "subscriptions/listen" and serving.fans_out:
        return await _listen(serving, message, context, connection)
    return await serving.answer(message, context, connection)


async def _listen(serving: Serving, request: Envelope, context: QueueDispatchContext, connection: Connection) -> Answer:
    """Let the SDK acknowledge the subscription; from then on the exchange brings the client its events.

    So a subscription occupies no worker, and goes on when this process ends.
    """
    acknowledged = False

    def on_sent(method: str) -> None:
        nonlocal acknowledged
        if method == _ACKNOWLEDGED:
            acknowledged = True
            scope.cancel()

    context.on_sent = on_sent
    answer: Answer = None
    with anyio.CancelScope() as scope:
        answer = await serving.answer(request, context, connection)
    return None if acknowledged else answer
