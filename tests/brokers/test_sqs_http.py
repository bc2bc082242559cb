"""A long poll under way is given up at once, which boto3 cannot do; a guard for the private name used."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from asyncmcp_kombu.broker.sqs import Channel
from asyncmcp_kombu.broker.sqs_http import InterruptibleRequests
from tests.brokers.driver import SOON, Driver, leave
from tests.services import boto_sqs, quick


@pytest.fixture
def driver(sqs_url: str, prefix: str) -> Iterator[Driver]:
    driver = Driver(sqs_url, prefix)
    yield driver
    driver.close()


class Poll(threading.Thread):
    """One long poll of 20 s in a thread."""

    def __init__(self, client: Any, url: str) -> None:
        super().__init__(daemon=True)
        self._client, self._url = client, url
        self.sent = threading.Event()
        self.error: Exception | None = None
        client.meta.events.register("before-send.sqs.ReceiveMessage", lambda **_: self.sent.set())

    def run(self) -> None:
        try:
            self._client.receive_message(QueueUrl=self._url, WaitTimeSeconds=20)
        except Exception as error:
            self.error = error


def test_an_interrupted_long_poll_returns_within_a_second(driver: Driver):
    client = boto_sqs(driver.url, Config(retries={"total_max_attempts": 1}))
    requests = InterruptibleRequests(client)
    url = boto_sqs(driver.url).get_queue_url(QueueName=driver.queue().name)["QueueUrl"]
    for _ in range(2):  # over a fresh connection, and over one that has been used
        poll = Poll(client, url)
        poll.start()
        assert poll.sent.wait(SOON)
        poll.join(0.3)  # until it is on its way: it must not end by itself
        assert poll.is_alive()
        started = time.monotonic()
        requests.interrupt()
        poll.join(SOON)
        assert time.monotonic() - started < quick(1)
        assert isinstance(poll.error, BotoCoreError | OSError)


def test_after_an_interruption_the_client_works_as_before(driver: Driver):
    client = boto_sqs(driver.url, Config())
    requests = InterruptibleRequests(client)
    name = driver.queue().name
    client.get_queue_url(QueueName=name)
    requests.interrupt()
    assert client.get_queue_url(QueueName=name)["QueueUrl"].endswith(name)


def test_a_poll_that_starts_while_its_consumer_is_cancelled_is_given_up_too(
    sqs_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
):
    driver = Driver(sqs_url, prefix, wait_time=2)
    asked, go_on = threading.Event(), threading.Event()

    def room(self: Channel) -> int:
        asked.set()
        assert go_on.wait(SOON)
        return 10

    monkeypatch.setattr(Channel, "_room", room)
    driver.inbox(driver.queue(), leave)
    assert asked.wait(SOON)
    threading.Timer(0.3, go_on.set).start()  # the consumer is cancelled at 0.2 s at the latest
    started = time.monotonic()
    driver.close()
    assert time.monotonic() - started < quick(1.5)
