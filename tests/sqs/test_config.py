"""The configuration that is documented: fields, defaults, and ranges that an error names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from asyncmcp_kombu import (
    SnsSqsClientConfig,
    SnsSqsServerConfig,
    SnsSqsTransportConfig,
    SqsClientConfig,
    SqsServerConfig,
)
from asyncmcp_kombu.sqs.config import QueueConfig

URL, TOPIC = "https://sqs.eu-central-1.amazonaws.com/123456789012/requests", "arn:aws:sns:eu-central-1:123456789012:in"
COMMON = {
    "max_messages": 10,
    "wait_time_seconds": 20,
    "visibility_timeout_seconds": 30,
    "poll_interval_seconds": 5.0,
    "message_attributes": None,
    "transport_timeout_seconds": None,
}


@pytest.mark.parametrize(
    ("config", "own"),
    [
        (SqsServerConfig(read_queue_url=URL), {"read_queue_url": URL}),
        (
            SqsClientConfig(read_queue_url=URL, response_queue_url=URL + "2"),
            {"read_queue_url": URL, "response_queue_url": URL + "2", "client_id": None},
        ),
        (SnsSqsServerConfig(sqs_queue_url=URL), {"sqs_queue_url": URL}),
        (SnsSqsClientConfig(sqs_queue_url=URL, sns_topic_arn=TOPIC), {"sqs_queue_url": URL, "sns_topic_arn": TOPIC}),
        (SnsSqsTransportConfig(sqs_queue_url=URL, sns_topic_arn=TOPIC), {"client_id": None}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_documented_field_has_its_documented_default(config: Any, own: dict[str, Any]):
    for name, value in {**COMMON, **own}.items():
        assert getattr(config, name) == value


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("max_messages", 0, "greater than or equal to 1"),
        ("max_messages", 11, "less than or equal to 10"),
        ("wait_time_seconds", -1, "greater than or equal to 0"),
        ("wait_time_seconds", 21, "less than or equal to 20"),
        ("visibility_timeout_seconds", 1, "greater than or equal to 2"),
        ("visibility_timeout_seconds", 43_201, "less than or equal to 43200"),
        ("poll_interval_seconds", -0.1, "greater than or equal to 0"),
        ("transport_timeout_seconds", 0, "greater than 0"),
        ("message_attributes", {"ReplyTo": "x"}, "ReplyTo: the protocol's own"),
        ("message_attributes", {str(n): n for n in range(4)}, "at most 3"),
        ("read_queue_url", "requests", "String should match pattern"),
        ("max_mesages", 5, "Extra inputs are not permitted"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_value_and_the_range(field: str, value: Any, named: str):
    with pytest.raises(ValidationError) as refused:
        SqsServerConfig(**{"read_queue_url": URL, field: value})
    assert field in str(refused.value)
    assert named in str(refused.value)
    assert str(value) in str(refused.value) or field == "message_attributes"


def test_a_client_needs_a_topic_to_publish_to():
    with pytest.raises(ValidationError, match="sns_topic_arn"):
        SnsSqsClientConfig(sqs_queue_url=URL)


def test_the_page_documents_every_field():
    page = (Path(__file__).parents[2] / "docs" / "sqs.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)`", page, re.M))
    for config in (QueueConfig, SqsServerConfig, SqsClientConfig, SnsSqsServerConfig, SnsSqsClientConfig):
        assert config.model_fields.keys() <= documented, config
