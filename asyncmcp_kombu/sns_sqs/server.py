"""sns_sqs_server: a stream pair that reads requests from a queue and publishes answers to topics."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread

from asyncmcp_kombu.server.transport import Streams, stream_pair
from asyncmcp_kombu.sns_sqs.config import SnsSqsServerConfig, SnsSqsTransportConfig
from asyncmcp_kombu.sqs.connection import connector, require_queue, settings_for
from asyncmcp_kombu.sqs.routes import UrlRoutes


@asynccontextmanager
async def sns_sqs_server(config: SnsSqsTransportConfig, sqs_client: Any, sns_client: Any) -> AsyncGenerator[Streams]:
    """Read and write streams for the SDK's `Server.run`.

    Args:
        config: the request queue, which somebody has subscribed to the request topic (with or without raw message
            delivery), and the response topic.
        sqs_client, sns_client: boto3 clients, as in `sqs_server`.

    An answer is published to the topic that its client names, else to the response topic, with the client's id in
    the attributes `ClientId` and `Audience`, for subscriptions to filter by. Everything else, and what is raised, is
    as in `sqs_server`.
    """
    await anyio.to_thread.run_sync(require_queue, sqs_client, config.sqs_queue_url)
    own = config if isinstance(config, SnsSqsServerConfig) else SnsSqsServerConfig(sqs_queue_url=config.sqs_queue_url)
    routes = UrlRoutes(
        config.sqs_queue_url,
        dead=own.dead_letter_queue_url,
        allowed=None if own.reply_addresses is None else tuple(own.reply_addresses),
        default_reply=config.sns_topic_arn,
    )
    timeout = config.transport_timeout_seconds or math.inf
    broker = connector(config, sqs_client, sns_client)
    async with stream_pair(routes, settings_for(config), broker, config.attributes, timeout) as streams:
        yield streams
