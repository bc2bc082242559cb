"""What every broker does for us: inherited by one class per broker, never collected by itself.

A difference between brokers is an attribute of the class.
"""

from __future__ import annotations

import dataclasses
import logging
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, ClassVar

import pytest
from kombu import Producer

from asyncmcp_kombu.broker import queues as broker_queues
from asyncmcp_kombu.envelope import compose, parse
from asyncmcp_kombu.errors import BrokerUnreachable, MessageTooLarge
from tests.brokers.driver import SOON, Arrivals, Driver, leave, numbered
from tests.brokers.exchanges import ExchangeContract
from tests.brokers.pruning import PruningContract
from tests.services import delete_queues, quick


class BrokerContract(ExchangeContract, PruningContract):
    keeps_order: ClassVar[bool] = True
    """Whether what one publisher sends arrives in that order."""
    marks_redelivery: ClassVar[bool] = True
    """Whether a message that was given back says so."""

    @pytest.fixture
    def broker_url(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def driver(self, broker_url: str, prefix: str) -> Iterator[Driver]:
        driver = Driver(broker_url, prefix)
        yield driver
        driver.close()

    def exists(self, driver: Driver, queue_name: str) -> bool:
        """Whether the broker itself knows the queue, asked without our package."""
        raise NotImplementedError

    # --- what is sent is what arrives ---

    def test_an_envelope_arrives_as_it_was_sent(self, driver: Driver):
        sent = compose(
            {
                "jsonrpc": "2.0",
                "id": "ü",
                "method": "tools/call",
                "params": {"name": "größe", "x": "日本 😀 \n\0"},
            },
            client_id="c" * 32,
            session_id="s",
            reply_to="asyncmcp-workers-reply-c",
            expires_at=1_900_000_000.25,
            sequence=3,
        )
        queue, arrivals = driver.queue(), Arrivals()
        driver.inbox(queue, arrivals)
        driver.send(queue, sent)
        (message,) = arrivals.take(1)
        received = parse(message.body, message.headers)
        assert received == dataclasses.replace(sent, timestamp=round(sent.timestamp, 3))
        assert received.body == sent.body
        assert message.content_type == "application/json"
        for name, value in sent.headers().items():
            assert type(value)(message.headers[name]) == value, name

    def test_a_body_of_200_kb_arrives(self, driver: Driver):
        sent = compose({"jsonrpc": "2.0", "id": 1, "result": {"text": "ü" * 100_000}})
        queue, arrivals = driver.queue(), Arrivals()
        driver.inbox(queue, arrivals)
        driver.send(queue, sent)
        (message,) = arrivals.take(1)
        assert parse(message.body, message.headers).body == sent.body

    def test_what_one_publisher_sends_arrives_once_and_in_the_order_that_the_broker_promises(self, driver: Driver):
        queue, arrivals = driver.queue(), Arrivals()
        driver.inbox(queue, arrivals)
        driver.send(queue, *(numbered(n) for n in range(100)))
        arrived = [parse(message.body, message.headers).request_id for message in arrivals.take(100)]
        assert (arrived if self.keeps_order else sorted(arrived)) == list(range(100))

    def test_500_messages_from_8_threads_all_arrive_once(self, driver: Driver):
        queue, arrivals, publisher = driver.queue(), Arrivals(), driver.publisher()
        driver.inbox(queue, arrivals)
        with ThreadPoolExecutor(8) as pool:
            sent = list(pool.map(lambda n: publisher.publish(queue.name, numbered(n)), range(500)))
        assert not wait(sent, SOON).not_done
        assert all(future.exception() is None for future in sent)
        arrived = [parse(message.body, message.headers).request_id for message in arrivals.take(500)]
        assert sorted(arrived) == list(range(500))
        assert arrivals.nothing_more(0.2)

    def test_two_consumers_share_a_queue_without_loss(self, driver: Driver):
        queue, arrivals = driver.queue(), Arrivals()
        driver.inbox(queue, arrivals)
        second = driver.inbox(queue, arrivals)
        driver.send(queue, *(numbered(n) for n in range(100)))
        second.close()
        driver.send(queue, *(numbered(n) for n in range(100, 120)))
        arrived = [parse(message.body, message.headers).request_id for message in arrivals.take(120)]
        assert sorted(arrived) == list(range(120))

    def test_a_celery_message_travels_in_kombus_own_form(self, driver: Driver):
        queue, arrivals = driver.queue("workers-jobs"), Arrivals()
        driver.inbox(queue, arrivals)
        body, headers = (
            [[1, "ü"], {"x": None}, {"chord": None}],
            {"task": "workers.add", "id": "i", "retries": 0},
        )
        with driver.connect() as connection:
            Producer(connection.channel(), auto_declare=False).publish(
                body, routing_key=queue.name, headers=headers, serializer="json", correlation_id="i"
            )
        (message,) = arrivals.take(1)
        assert message.decode() == body
        assert {name: message.headers[name] for name in headers} == headers
        assert message.properties["correlation_id"] == "i"

    # --- what is not settled comes again ---

    def test_what_a_closed_consumer_left_is_given_to_another_at_once(
        self, driver: Driver, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        queue, first, second = driver.queue(), Arrivals(leave), Arrivals()
        inbox = driver.inbox(queue, first)
        driver.send(queue, numbered(1))
        assert not first.next().redelivered
        inbox.close()
        closed_at = time.monotonic()
        driver.inbox(queue, second)
        arrival = second.next()
        assert arrival.at - closed_at < quick(3)
        assert parse(arrival.message.body, arrival.message.headers).request_id == 1
        assert arrival.redelivered == self.marks_redelivery
        assert list(tmp_path.iterdir()) == [], "Kombu dumped messages instead of giving them back"
        assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []

    def test_a_rejected_message_comes_back(self, driver: Driver):
        turns = iter(["reject", "ack"])

        def settle(message: Any) -> None:
            message.reject(requeue=True) if next(turns) == "reject" else message.ack()

        queue, arrivals = driver.queue(), Arrivals(settle)
        driver.inbox(queue, arrivals)
        driver.send(queue, numbered(1))
        arrivals.next()
        again = arrivals.next()
        assert parse(again.message.body, again.message.headers).request_id == 1
        assert again.redelivered == self.marks_redelivery

    # --- closing ---

    def test_closing_right_after_opening_is_as_quick(self, driver: Driver):
        for turn in range(2):
            inbox = driver.inbox(broker_queues.reply_queue(driver.name(f"workers-reply-{turn}")), leave, temporary=True)
            started = time.monotonic()
            inbox.close()
            assert time.monotonic() - started < quick(1)
            assert not self.exists(driver, driver.name(f"workers-reply-{turn}"))

    def test_closing_an_inbox_is_quick_ends_its_threads_and_deletes_its_temporary_queue(self, driver: Driver):
        queue, arrivals = broker_queues.reply_queue(driver.name("workers-reply-x")), Arrivals()
        driver.send(driver.queue(), numbered(1))  # the publisher's threads stay
        others = threading.enumerate()
        inbox = driver.inbox(queue, arrivals, temporary=True)
        driver.send(queue, numbered(1, sequence=0))
        arrivals.next()
        started = time.monotonic()
        inbox.close()
        assert time.monotonic() - started < quick(1)
        assert not self.exists(driver, queue.name)
        of_an_inbox = ("asyncmcp-inbox", "asyncmcp-sqs", "asyncmcp-redis")
        mine = [thread.name for thread in threading.enumerate() if thread not in others]
        assert not [name for name in mine if name.startswith(of_an_inbox)]

    def test_a_temporary_queue_goes_with_what_was_not_settled(self, driver: Driver, caplog: Any):
        queue, arrivals = broker_queues.reply_queue(driver.name("workers-reply-x")), Arrivals(leave)
        inbox = driver.inbox(queue, arrivals, temporary=True)
        driver.send(queue, numbered(1), numbered(2))
        arrivals.take(2)
        inbox.close()
        left = self.exists(driver, queue.name)
        delete_queues(driver.url, [queue.name] if left else [])
        assert not left
        assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []

    def test_a_durable_queue_outlives_its_inbox(self, driver: Driver):
        queue = driver.queue()
        driver.inbox(queue, Arrivals()).close()
        driver.send(queue, numbered(1))
        assert self.exists(driver, queue.name)

    def test_deleting_a_queue_that_does_not_exist_is_no_error(self, driver: Driver):
        with driver.connect() as connection:
            broker_queues.delete(connection, driver.name("workers-reply-never-made"))

    # --- refusals ---

    def test_a_cancelled_future_does_not_hold_up_the_others(self, driver: Driver):
        queue, publisher = driver.queue(), driver.publisher()
        sent = [publisher.publish(queue.name, numbered(n)) for n in range(20)]
        for future in sent:
            future.cancel()
        assert publisher.publish(queue.name, numbered(20)).exception(3) is None

    def test_a_closed_publisher_accepts_nothing(self, driver: Driver):
        queue, publisher = driver.queue(), driver.publisher()
        publisher.publish(queue.name, numbered(1)).result(SOON)
        publisher.close()
        assert isinstance(publisher.publish(queue.name, numbered(2)).exception(SOON), BrokerUnreachable)

    def test_what_was_handed_over_before_closing_is_sent(self, driver: Driver):
        queue, arrivals, publisher = driver.queue(), Arrivals(), driver.publisher()
        sent = [publisher.publish(queue.name, numbered(n)) for n in range(25)]
        publisher.close()
        assert [future.exception(0) for future in sent] == [None] * 25
        driver.inbox(queue, arrivals)
        arrivals.take(25)

    def test_a_message_too_large_fails_at_once_and_says_what_to_set(self, driver: Driver):
        publisher = driver.publisher(max_bytes=2_000)
        sent = publisher.publish(
            driver.name("nowhere"), compose({"jsonrpc": "2.0", "id": 1, "result": {"x": "y" * 2_000}})
        )
        error = sent.exception(0)
        assert isinstance(error, MessageTooLarge)
        assert (error.limit, error.size > 2_000) == (2_000, True)
        assert f"{error.size:,}" in str(error)
        assert "2,000" in str(error)
        assert "ASYNCMCP_MAX_MESSAGE_BYTES" in str(error)
