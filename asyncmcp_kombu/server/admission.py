"""Admission: which messages of the request queue are served, and who is told about the others.

The request queue is open to every client. What is not one proper JSON-RPC message with an allowed reply address
is refused: its sender is told where it left such an address, else the message is kept as a dead letter.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from asyncmcp_kombu.broker.publisher import Publisher
from asyncmcp_kombu.envelope import Envelope, parse
from asyncmcp_kombu.errors import EnvelopeError, ReplyAddressRefused
from asyncmcp_kombu.server.replies import Replies
from asyncmcp_kombu.topology import Topology, is_client_id


def admit(body: bytes | str, headers: Mapping[str, Any], topology: Topology, max_bytes: int) -> Envelope:
    """The envelope in a message from the request queue.

    Raises:
        EnvelopeError: it is refused; the text says why.
    """
    envelope = parse(body, headers, max_bytes=max_bytes)
    address = envelope.reply_to
    expects_answer = envelope.kind == "request" or address is not None
    if expects_answer and not _may_answer(topology, address, envelope.client_id):
        raise ReplyAddressRefused(
            f"reply address {address!r}: a reply queue of this server is expected ({topology.reply('…')}), or its "
            f"exchange {topology.events} together with a ClientId",
            request_id=envelope.request_id,
        )
    return envelope


def _may_answer(topology: Topology, address: object, client_id: object) -> bool:
    """Whether the server writes to the address. What is fanned out is for one client, never for everyone."""
    if not isinstance(address, str):
        return False
    if topology.fans_out(address):
        return isinstance(client_id, str) and is_client_id(client_id)
    return topology.allows_reply_to(address)


def refuse(
    body: object, headers: Mapping[str, Any], error: EnvelopeError, topology: Topology, publisher: Publisher
) -> Future[None]:
    """Tell the sender, or keep the message; done when the broker has accepted that."""
    address = headers.get("ReplyTo")
    if isinstance(address, str) and _may_answer(topology, address, headers.get("ClientId")):
        sender = Envelope(
            body=b"",
            message={"id": error.request_id},
            timestamp=0.0,
            client_id=headers.get("ClientId"),
            reply_to=address,
        )
        return Replies(sender, publisher.publish).error(error.error_data())
    raw = body if isinstance(body, bytes) else str(body).encode("utf-8", "replace")
    return publisher.publish_raw(topology.dead, raw, {"MessageType": "dead", "Reason": error.reason})
