"""Return address: where the answer to a message goes, whichever way its client says so.

Our own clients say it with every message (`ReplyTo`). asyncmcp's say it once, in the parameters of `initialize`, and
send nothing but the SessionId later; it is sealed into that, so any process of the server knows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.errors import ReplyAddressRefused, SessionRefused
from asyncmcp_kombu.server.sessions import Sessions
from asyncmcp_kombu.topology import Routes, is_client_id

_PARAMS = ("response_queue_url", "client_topic_arn")
"""Of `initialize`, as asyncmcp 0.2.1 writes them (its sqs/client.py and sns_sqs/client.py)."""
_META = ("responseQueueUrl", "clientTopicArn")
"""Of `initialize`'s `_meta`, as the head of its repository does (commit 168f01b and later)."""


def addressed(envelope: Envelope, routes: Routes, sessions: Sessions, delivered_to: str | None) -> Envelope:
    """The envelope with the route of its answer as `reply_to`; its parameters are then MCP's only.

    Raises:
        ReplyAddressRefused: the reply address is not allowed, or a request has none.
        SessionRefused: a request that says it with a SessionId that was not made by this server for this client.
    """
    address = envelope.reply_to
    if address is None and envelope.method == "initialize":
        address = _stated(envelope.params)
    elif address is None and envelope.session_id is not None and envelope.kind != "response":
        with suppress(*([SessionRefused] if envelope.kind == "notification" else [])):
            address = sessions.open(envelope).reply_to
    route = _route(routes, address, delivered_to, envelope.client_id)
    if route is None and (envelope.kind == "request" or envelope.reply_to is not None):
        raise ReplyAddressRefused(
            f"reply address {address!r}: {routes.replies} is expected", request_id=envelope.request_id
        )
    if envelope.method == "initialize" and any(key in envelope.params for key in _PARAMS):
        params = {key: value for key, value in envelope.params.items() if key not in _PARAMS}
        envelope = replace(envelope, message={**envelope.message, "params": params})
    return replace(envelope, reply_to=route)


def return_route(
    headers: Mapping[str, Any], routes: Routes, sessions: Sessions, delivered_to: str | None
) -> str | None:
    """The route of an answer to a message that cannot be read, from its attributes alone; None when there is none."""
    address, session_id = headers.get("ReplyTo"), headers.get("SessionId")
    if address is None and session_id is not None:
        sender = Envelope(
            body=b"", message={}, timestamp=0.0, client_id=headers.get("ClientId"), session_id=str(session_id)
        )
        with suppress(SessionRefused):
            address = sessions.open(sender).reply_to
    return _route(routes, address, delivered_to, headers.get("ClientId")) if isinstance(address, str) else None


def _route(routes: Routes, address: str | None, delivered_to: str | None, client_id: object) -> str | None:
    """What is fanned out is for one client, never for everyone."""
    route = routes.reply_route(address, delivered_to)
    if route is not None and route == routes.events and not (isinstance(client_id, str) and is_client_id(client_id)):
        return None
    return route


def _stated(params: Mapping[str, Any]) -> str | None:
    meta = params.get("_meta")
    found = [params.get(key) for key in _PARAMS]
    if isinstance(meta, Mapping):
        found += [meta.get(key) for key in _META]
    return next((address for address in found if isinstance(address, str) and address), None)
