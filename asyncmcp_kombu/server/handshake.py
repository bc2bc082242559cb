"""The handshake versions (2025-11-25 and earlier): `initialize`, and then each message with its SessionId."""

from __future__ import annotations

from mcp.server.connection import Connection
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp_types import SetLevelRequestParams

from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.server.context import ClientOutbound, QueueDispatchContext
from asyncmcp_kombu.server.replies import Reply
from asyncmcp_kombu.server.serving import Answer, Serving
from asyncmcp_kombu.server.sessions import Session

WITHOUT_SESSION = ("initialize", "ping")
"""Requests that may come before there is a session."""


async def serve_handshake(serving: Serving, message: Envelope, replies: Reply) -> Answer:
    """Serve one request or take one notification of a handshake version.

    Raises:
        SessionRefused: it carries no session id, or one that is not its own.
        Exception: what the handler raised.
    """
    session = None if message.method in WITHOUT_SESSION else serving.sessions.open(message)
    log_level = None if session is None else session.log_level
    outbound = ClientOutbound(
        client=message, publish=serving.publish, back_channel=serving.back_channel, log_level=log_level
    )
    context = QueueDispatchContext(
        replies=replies,
        request_id=message.request_id if message.kind == "request" else None,
        progress_token=progress_token_from_params(message.params),
        back_channel=serving.back_channel if message.kind == "request" else None,
        log_level=log_level,
    )
    connection = Connection.for_loop(outbound, session_id=message.session_id)
    if session is not None:
        connection.protocol_version, connection.client_params = session.protocol_version, session.client_params
        connection.initialized.set()
    if message.kind != "request":
        await serving.take(message, context, connection)
        return None
    result = await serving.answer(message, context, connection)
    replies.session_id = _new_session_id(serving, message, session, connection) or replies.session_id
    return result


def _new_session_id(serving: Serving, request: Envelope, session: Session | None, connection: Connection) -> str | None:
    """The session id after a request that changes the session; the client keeps the newest."""
    if request.method == "initialize" and connection.client_params is not None:
        return serving.sessions.seal(request, connection.protocol_version, connection.client_params)
    if request.method == "logging/setLevel" and session is not None:
        level = SetLevelRequestParams.model_validate(request.params).level
        return serving.sessions.seal(request, session.protocol_version, session.client_params, level)
    return None
