"""What the SNS+SQS transports can be told: a queue to read from, a topic to publish to, and `QueueConfig`'s fields."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from asyncmcp_kombu.sqs.config import QueueConfig, QueueUrl, ServerFields, TopicArn


class SnsSqsTransportConfig(QueueConfig):
    """Either side: reads from a queue, publishes to a topic.

    Attributes:
        sqs_queue_url: where this side reads.
        sns_topic_arn: where this side publishes.
        client_id: of a client, as in `SqsClientConfig`; of no meaning at a server.
    """

    sqs_queue_url: QueueUrl
    sns_topic_arn: TopicArn | None = None
    client_id: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[\x21-\x7E]+$")] | None = None


class SnsSqsServerConfig(SnsSqsTransportConfig, ServerFields):
    """A server: `sqs_queue_url` is the request queue, which must exist; `sns_topic_arn` the response topic, for clients
    that name none of their own."""


class SnsSqsClientConfig(SnsSqsTransportConfig):
    """A client: `sqs_queue_url` is its own queue, created when missing; `sns_topic_arn` the request topic, required."""

    @model_validator(mode="after")
    def _publishes_somewhere(self) -> Self:
        if self.sns_topic_arn is None:
            raise ValueError("sns_topic_arn: a client needs the ARN of the topic that it publishes requests to")
        return self
