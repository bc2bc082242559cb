"""Where a server by URL may send answers to."""

from __future__ import annotations

import pytest

from asyncmcp_kombu.sqs.routes import UrlRoutes

AWS = "https://sqs.eu-central-1.amazonaws.com/123456789012/"


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        (AWS + "responses", True),
        ("arn:aws:sns:eu-central-1:123456789012:responses", True),
        (AWS + "requests", False),
        ("https://sqs.eu-central-1.amazonaws.com/999999999999/responses", False),
        ("https://sqs.us-east-1.amazonaws.com/123456789012/responses", False),
        ("https://evil.example/123456789012/responses", False),
        ("http://sqs.eu-central-1.amazonaws.com/123456789012/responses", False),
        (AWS + "../999999999999/responses", False),
        ("arn:aws:sns:eu-central-1:999999999999:responses", False),
        ("arn:aws:sns:us-east-1:123456789012:responses", False),
        ("arn:aws:sns:", False),
        (AWS + "responses?x=1", False),
        (AWS + "responses.fifo", True),
        ("http://[", False),
        ("responses", False),
        ("", False),
    ],
)
def test_by_default_answers_stay_in_the_request_queues_account_and_region(address: str, allowed: bool):
    assert UrlRoutes(AWS + "requests").reply_route(address) == (address if allowed else None)


def test_patterns_replace_the_default_and_the_response_topic_is_always_allowed():
    topic = "arn:aws:sns:eu-central-1:123456789012:out"
    routes = UrlRoutes(AWS + "requests", allowed=(AWS + "mcp-*",), default_reply=topic)
    assert routes.reply_route(AWS + "mcp-1") == AWS + "mcp-1"
    assert routes.reply_route(AWS + "payroll") is None
    assert routes.reply_route(None) == routes.reply_route(topic) == topic
