"""Admission: which messages of the request queue are served, and who is told about the others.

The request queue is open to every client. What is not one proper JSON-RPC message with an allowed reply address
is refused: its sender is told where it left such an address, else the message is kept as a dead letter.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from asyncmcp_kombu.broker.publisher import Publisher
from asyncmcp_kombu.envelope import MAX_BYTES, Envelope, parse
from asyncmcp_kombu.errors import EnvelopeError, ReplyAddressRefused, TooManyReceives
from asyncmcp_kombu.server.dead_letters import bury
from asyncmcp_kombu.server.replies import Replies
from asyncmcp_kombu.topology import Topology


def admit(body: bytes | str, headers: Mapping[str, Any], topology: Topology, max_bytes: int) -> Envelope:
    """The envelope in a message from the request queue.

    Raises:
        EnvelopeError: it is refused; the text says why.
    """
    envelope = parse(body, headers, max_bytes=max_bytes)
    address = envelope.reply_to
    if envelope.kind == "request" and (address is None or not topology.allows_reply_to(address)):
        raise ReplyAddressRefused(
            f"reply address {address!r}: a reply queue of this server is expected ({topology.reply('…')})",
            request_id=envelope.request_id,
        )
    return envelope


def refuse(
    body: object,
    headers: Mapping[str, Any],
    error: EnvelopeError,
    topology: Topology,
    publisher: Publisher,
    max_bytes: int = MAX_BYTES,
) -> Future[None]:
    """Tell the sender, or keep the message, or both when it was received too often; done when that is accepted."""
    address = headers.get("ReplyTo")
    if isinstance(address, str) and topology.allows_reply_to(address):
        sender = Envelope(
            body=b"",
            message={"id": error.request_id},
            timestamp=0.0,
            client_id=headers.get("ClientId"),
            reply_to=address,
        )
        told = Replies(sender, publisher.publish).error(error.error_data())
        if not isinstance(error, TooManyReceives):
            return told
    return bury(body, headers, error.reason, topology, publisher, max_bytes)
