"""sqs_client: a client transport between two queues that are known by their URLs, with the caller's boto3 client."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
from mcp.client._transport import TransportStreams

from asyncmcp_kombu.broker import queues
from asyncmcp_kombu.broker.exchanges import Binding
from asyncmcp_kombu.broker.inbox import Inbox
from asyncmcp_kombu.broker.publisher import Publisher
from asyncmcp_kombu.client.mailbox import Mailbox
from asyncmcp_kombu.client.session import Session
from asyncmcp_kombu.client.transport import opened, stream_pair
from asyncmcp_kombu.client.wire_ids import WireIds
from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.sqs.config import QueueConfig, SqsClientConfig
from asyncmcp_kombu.sqs.connection import connector, ensure_queue, require_queue
from asyncmcp_kombu.sqs.routes import UrlRoutes
from asyncmcp_kombu.topology import is_queue_url, new_client_id


@asynccontextmanager
async def sqs_client(config: SqsClientConfig, sqs_client: Any) -> AsyncGenerator[TransportStreams]:
    """Read and write streams for the SDK's `ClientSession`, or a transport for `mcp.Client`.

    Args:
        config: the two queues, and how the response queue is read.
        sqs_client: a boto3 SQS client. It is used as it is and stays open; long polls have a sibling of it, with the
            same credentials, endpoint and region.

    Entering creates the response queue when it is missing. Exiting takes less than a second whatever the wait time,
    leaves no thread, and leaves the queue. What an earlier session left in it is dropped, and never taken for an answer
    to this one's requests. Live clients may share a response queue, at a price: what one takes that is another's it
    gives back, which may delay that by seconds.

    Raises:
        QueueNotFound: the request queue does not exist, or the response queue cannot be created (on entering).
        BrokerUnreachable: SQS cannot be reached (on entering, and from any later send).
        MessageTooLarge, PublishError: from the call whose message was refused.
    """
    announce = {
        "response_queue_url": config.response_queue_url,
        "_meta": {"responseQueueUrl": config.response_queue_url},
    }
    async with client_streams(
        config,
        sqs_client,
        requests=config.read_queue_url,
        inbox_url=config.response_queue_url,
        reply_to=config.response_queue_url,
        client_id=config.client_id,
        announce=announce,
    ) as streams:
        yield streams


@asynccontextmanager
async def client_streams(
    config: QueueConfig,
    sqs: Any,
    sns: Any = None,
    *,
    requests: str,
    inbox_url: str,
    reply_to: str | None,
    client_id: str | None,
    announce: dict[str, Any],
    topic: str | None = None,
) -> AsyncGenerator[TransportStreams]:
    """A session over a queue by URL. Requests go to a queue by URL or to a topic by ARN.

    Args:
        announce: parameters of `initialize` for asyncmcp's servers.
        topic: the response topic, to which the inbox's queue is subscribed for what is for this client.
    """
    wire_ids = WireIds(announce)
    session = Session(client_id or new_client_id(), UrlRoutes(requests), tells_version=False)
    binding = None if topic is None else Binding(topic, session.client_id)
    connect = connector(config, sqs, sns)

    def claim(envelope: Envelope) -> str | None:
        """The session's id; empty for what is nobody's any more; None for what may be another client's."""
        made = wire_ids.made(envelope)
        if made or (made is None and envelope.client_id in (None, session.client_id)):
            return session.client_id
        return "" if envelope.client_id == session.client_id else None

    mailbox = Mailbox(
        session.routes,
        reply_to=reply_to,
        inbox=lambda on_message: Inbox(
            connect,
            queues.named(inbox_url),
            on_message,
            temporary=False,
            bindings=() if binding is None else (binding,),
        ),
        publisher=Publisher(connect, max_bytes=config.max_message_bytes, attributes=config.attributes),
        max_bytes=config.max_message_bytes,
        claim=claim,
    )

    def open_it() -> Mailbox:
        if is_queue_url(requests):
            require_queue(sqs, requests)
        ensure_queue(sqs, inbox_url, config.visibility_timeout_seconds)
        mailbox.open()
        return mailbox

    def close_it(mailbox: Mailbox) -> None:
        # A client that names itself may come back: its subscription stays, so that answers wait in the queue.
        mailbox.close(unbind=binding if client_id is None else None)

    timeout = config.transport_timeout_seconds or math.inf
    await opened(open_it, close_it)
    try:
        async with stream_pair(mailbox, session, wire_ids, timeout=timeout) as streams:
            yield streams
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(close_it, mailbox)
