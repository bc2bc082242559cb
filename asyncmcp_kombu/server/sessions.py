"""Sessions of the handshake versions: the `SessionId` that says what `initialize` agreed on.

The client sends it back with every message, so any process of the server can serve any of them, and a session
survives the restart of all. It is sealed with the server's key: nobody else can read, make or alter one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from mcp.server.request_state import AESGCMRequestStateCodec, InvalidRequestState
from mcp_types import InitializeRequestParams, LoggingLevel
from pydantic import TypeAdapter

from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.errors import SessionRefused
from asyncmcp_kombu.server.keys import derived


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What later requests of a client need to know of its handshake."""

    server: str
    client_id: str | None
    reply_to: str | None
    protocol_version: str
    client_params: InitializeRequestParams
    log_level: LoggingLevel | None = None


_json = TypeAdapter(Session)


class Sessions:
    """Seals and opens session ids of one server.

    Args:
        keys: the server's secret keys; the first seals, all open.
    """

    def __init__(self, server: str, keys: list[bytes]) -> None:
        self._server = server
        self._codec = AESGCMRequestStateCodec(derived(keys, "session"))

    def seal(
        self,
        request: Envelope,
        protocol_version: str,
        client_params: InitializeRequestParams,
        log_level: LoggingLevel | None = None,
    ) -> str:
        """The session id for the client that sent the request."""
        session = Session(
            server=self._server,
            client_id=request.client_id,
            reply_to=request.reply_to,
            protocol_version=protocol_version,
            client_params=client_params,
            log_level=log_level,
        )
        return self._codec.seal(_json.dump_json(session, by_alias=True, exclude_none=True))

    def open(self, request: Envelope) -> Session:
        """The session that the message belongs to.

        Raises:
            SessionRefused: it names one that this server did not make for this client.
        """
        try:
            session = _json.validate_json(self._codec.unseal(request.session_id or ""))
        except (InvalidRequestState, ValueError):
            why = "the SessionId was not made with this server's key (is ASYNCMCP_SECRET_KEY the same everywhere?)"
            raise self._refused(request, why) from None
        if (session.server, session.client_id) != (self._server, request.client_id):
            raise self._refused(request, "the SessionId belongs to another client or server")
        return session

    def _refused(self, request: Envelope, why: str) -> SessionRefused:
        return SessionRefused(
            f"{why}; send `initialize` and return the SessionId of its answer with every message",
            request_id=cast("int | str | None", request.message.get("id")),
        )
