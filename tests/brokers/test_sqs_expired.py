"""Credentials that expire while we run: what is sent waits, what is held is settled later, and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from asyncmcp_kombu.envelope import parse
from asyncmcp_kombu.errors import BrokerUnreachable
from tests.brokers.driver import SOON, Arrivals, Driver, numbered
from tests.brokers.expiring import Endpoint, endpoint
from tests.brokers.network import at_port
from tests.services import boto_sqs


@pytest.fixture
def aws(sqs_url: str) -> Iterator[Endpoint]:
    with endpoint(urlsplit(sqs_url).port or 0) as running:
        yield running


@pytest.fixture
def driver(aws: Endpoint, sqs_url: str, prefix: str) -> Iterator[Driver]:
    driver = Driver(at_port(sqs_url, aws.port), prefix, visibility_timeout=20, wait_time=1)
    yield driver
    aws.expired.clear()
    driver.close()


def test_publishers_try_again_and_consumers_come_back(aws: Endpoint, driver: Driver):
    queue, arrivals, publisher = driver.queue(), Arrivals(), driver.publisher(retry_for=30.0)
    driver.inbox(queue, arrivals)
    publisher.publish(queue.name, numbered(1)).result(SOON)
    arrivals.take(1)
    aws.expired.set()
    sent = publisher.publish(queue.name, numbered(2))
    for _ in range(4):
        assert aws.refused.acquire(timeout=SOON)
    assert not sent.done()
    aws.expired.clear()
    sent.result(SOON)
    assert parse((message := arrivals.take(1)[0]).body, message.headers).request_id == 2


def test_a_publisher_that_may_not_retry_says_what_is_wrong(aws: Endpoint, driver: Driver):
    queue, publisher = driver.queue(), driver.publisher()
    publisher.publish(queue.name, numbered(1)).result(SOON)
    aws.expired.set()
    error = publisher.publish(queue.name, numbered(2)).exception(SOON)
    assert isinstance(error, BrokerUnreachable)
    assert "ExpiredToken" in str(error)
    assert "credentials" in str(error)


def test_what_was_settled_meanwhile_is_settled_afterwards(aws: Endpoint, driver: Driver, sqs_url: str):
    queue = driver.queue()
    driver.send(queue, numbered(1))
    held = Arrivals(lambda message: None)
    driver.inbox(queue, held)
    message = held.next().message
    aws.expired.set()
    message.ack()
    assert aws.refused.acquire(timeout=SOON)
    aws.expired.clear()
    client, url, give_up_at = boto_sqs(sqs_url), "", time.monotonic() + SOON
    url = client.get_queue_url(QueueName=queue.name)["QueueUrl"]
    while _held(client, url) and time.monotonic() < give_up_at:
        time.sleep(0.05)
    assert _held(client, url) == 0


def _held(client: object, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]  # type: ignore[attr-defined]
    return sum(map(int, attributes.values()))
