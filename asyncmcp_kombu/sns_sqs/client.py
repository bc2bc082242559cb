"""sns_sqs_client: a client transport that publishes requests to a topic and reads answers from its queue."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from mcp.client._transport import TransportStreams

from asyncmcp_kombu.errors import ConfigurationError
from asyncmcp_kombu.sns_sqs.config import SnsSqsTransportConfig
from asyncmcp_kombu.sqs.client import client_streams


@asynccontextmanager
async def sns_sqs_client(
    config: SnsSqsTransportConfig, sqs_client: Any, sns_client: Any, client_topic_arn: str | None = None
) -> AsyncGenerator[TransportStreams]:
    """Read and write streams for the SDK's `ClientSession`, or a transport for `mcp.Client`.

    Args:
        config: the client's own queue, and the request topic.
        sqs_client, sns_client: boto3 clients, as in `sqs_client`.
        client_topic_arn: the topic that answers are published to. Entering subscribes the queue to it, with a filter
            that lets only this client's messages through, unless somebody has subscribed it already: that subscription
            is left as it is. Exiting takes the subscription back when the client did not name itself (`client_id`).
            None: answers come on the server's response topic, to which somebody has subscribed the queue.

    Everything else, and what is raised, is as in `sqs_client`.

    Raises:
        ConfigurationError: no request topic.
        BrokerError: AWS refuses the subscription; the text says which rights are needed.
    """
    if config.sns_topic_arn is None:
        raise ConfigurationError("sns_topic_arn: a client needs the ARN of the topic that it publishes requests to")
    announce = (
        {}
        if client_topic_arn is None
        else {"client_topic_arn": client_topic_arn, "_meta": {"clientTopicArn": client_topic_arn}}
    )
    async with client_streams(
        config,
        sqs_client,
        sns_client,
        requests=config.sns_topic_arn,
        inbox_url=config.sqs_queue_url,
        reply_to=client_topic_arn,
        client_id=config.client_id,
        announce=announce,
        topic=client_topic_arn,
    ) as streams:
        yield streams
