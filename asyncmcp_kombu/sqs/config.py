"""What the transports by queue URL can be told: the fields, types and defaults that asyncmcp 0.2.1 documents.

An unknown field or a value out of range is refused with an error that names it, the value and the range.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

RESERVED = frozenset(
    (
        *("MessageType", "Timestamp", "RequestId", "Method", "Name", "ProtocolVersion", "ClientId", "SessionId"),
        *("ReplyTo", "ExpiresAt", "Sequence", "Audience", "RelatedRequestId"),
    )
)
MOST_ATTRIBUTES = 3
"""Of the ten that SQS allows, seven may be needed for the protocol (docs/wire.md)."""

QueueUrl = Annotated[str, Field(pattern=r"^https?://[^/\s]+/\S+$")]
TopicArn = Annotated[str, Field(pattern=r"^arn:[\w-]+:sns:[\w-]+:\d+:[\w-]+(\.fifo)?$")]


class QueueConfig(BaseModel):
    """What every side can be told.

    Attributes:
        max_messages: how many messages one poll may bring, 1 to 10.
        wait_time_seconds: how long one poll waits for a message, 0 to 20 s. At 0 there are ten polls a second.
        visibility_timeout_seconds: length of a lease, 2 to 43,200 s. It is renewed while a message is worked on, so it
            need not cover a call; after a crash an unanswered request comes again this soon.
        poll_interval_seconds: the longest pause between two tries while SQS cannot be reached, 0 s or more. Nothing
            is slept after an empty poll: a waiting server is never deaf.
        message_attributes: sent as String attributes with every message, at most three; values become text. Names
            of the protocol's own attributes are refused.
        transport_timeout_seconds: seconds after which both streams end by themselves; None: never. An exit before
            does not wait for it.
        max_message_bytes: the largest body with its attributes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_messages: Annotated[int, Field(ge=1, le=10)] = 10
    wait_time_seconds: Annotated[int, Field(ge=0, le=20)] = 20
    visibility_timeout_seconds: Annotated[int, Field(ge=2, le=43_200)] = 30
    poll_interval_seconds: Annotated[float, Field(ge=0)] = 5.0
    message_attributes: dict[str, Any] | None = None
    transport_timeout_seconds: Annotated[float, Field(gt=0)] | None = None
    max_message_bytes: Annotated[int, Field(ge=1_024, le=1_048_576)] = 1_048_576

    @field_validator("message_attributes")
    @classmethod
    def _room_for_the_protocols_own(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        names = value or {}
        if taken := sorted(RESERVED & names.keys()):
            raise ValueError(f"{', '.join(taken)}: the protocol's own attributes cannot be set; choose another name")
        if len(names) > MOST_ATTRIBUTES:
            raise ValueError(f"{len(names)} attributes: at most {MOST_ATTRIBUTES} fit beside the protocol's own")
        if empty := sorted(name for name, content in names.items() if not str(content)):
            raise ValueError(f"{', '.join(empty)}: SQS takes no empty attribute")
        return value

    @property
    def attributes(self) -> dict[str, str]:
        """`message_attributes` as text."""
        return {name: str(value) for name, value in (self.message_attributes or {}).items()}


class ServerFields(BaseModel):
    """What only servers can be told.

    Attributes:
        reply_addresses: patterns (`*` and `?`) of the queue URLs and topic ARNs that answers may be sent to; None:
            every queue and topic of the request queue's own endpoint, region and account, but not the request queue.
        dead_letter_queue_url: where a message is kept that is refused and whose sender cannot be told; None: such a
            message is logged and dropped.
    """

    reply_addresses: list[str] | None = None
    dead_letter_queue_url: QueueUrl | None = None


class SqsServerConfig(QueueConfig, ServerFields):
    """A server on a queue.

    Attributes:
        read_queue_url: the queue that clients write requests to. It must exist.
    """

    read_queue_url: QueueUrl


class SqsClientConfig(QueueConfig):
    """A client between two queues.

    Attributes:
        read_queue_url: the server's request queue, which this client writes to. It must exist.
        response_queue_url: where this client reads. Created when missing, and never deleted.
        client_id: says who this is, on every message; None: a new unguessable one. Two clients must not be alive with
            the same id.
    """

    read_queue_url: QueueUrl
    response_queue_url: QueueUrl
    client_id: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[\x21-\x7E]+$")] | None = None
