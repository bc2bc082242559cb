"""sqs_server: a stream pair over a queue that is known by its URL, with the caller's boto3 client."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread

from asyncmcp_kombu.server.transport import Streams, stream_pair
from asyncmcp_kombu.sqs.config import SqsServerConfig
from asyncmcp_kombu.sqs.connection import connector, require_queue, settings_for
from asyncmcp_kombu.sqs.routes import UrlRoutes


@asynccontextmanager
async def sqs_server(config: SqsServerConfig, sqs_client: Any) -> AsyncGenerator[Streams]:
    """Read and write streams for the SDK's `Server.run`.

    Args:
        config: the queue, and how it is read.
        sqs_client: a boto3 SQS client. It is used as it is and stays open; long polls have a sibling of it, with the
            same credentials, endpoint and region.

    Many clients share the pair, as with `kombu_server`: each is answered on its own response queue, one protocol era
    for all. Clients' questions are answered by way of the request queue. SessionIds are sealed with
    ASYNCMCP_SECRET_KEY, which servers on several machines must share. A request is acknowledged when its answer is
    accepted, so several servers may read one queue.

    Exiting gives what was not answered back to the queue, takes less than a second whatever the wait time, and leaves
    no thread.

    Raises:
        QueueNotFound: the request queue does not exist (on entering).
        BrokerUnreachable: SQS cannot be reached (on entering). Later it is connected to again.
    """
    await anyio.to_thread.run_sync(require_queue, sqs_client, config.read_queue_url)
    routes = UrlRoutes(
        config.read_queue_url,
        dead=config.dead_letter_queue_url,
        allowed=None if config.reply_addresses is None else tuple(config.reply_addresses),
    )
    timeout = config.transport_timeout_seconds or math.inf
    broker = connector(config, sqs_client)
    async with stream_pair(routes, settings_for(config), broker, config.attributes, timeout) as streams:
        yield streams
