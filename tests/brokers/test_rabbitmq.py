"""The contract on RabbitMQ."""

from __future__ import annotations

import subprocess
import time

import pytest
from kombu import Connection

from asyncmcp_kombu.broker.exchanges import Binding
from tests.brokers.driver import SOON, Arrivals, Driver, leave, numbered
from tests.brokers.network import NetworkBrokerContract
from tests.services import amqp_queue_exists, amqp_url


def rabbitmqctl(command: str, *columns: str) -> list[list[str]]:
    done = subprocess.run(
        ["rabbitmqctl", command, "-q", "--no-table-headers", *columns], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"rabbitmqctl cannot be used: {done.stderr}")
    return [line.split("\t") for line in done.stdout.splitlines()]


class TestRabbitMQ(NetworkBrokerContract):
    finds_the_dead = False

    @pytest.fixture
    def broker_url(self) -> str:
        return amqp_url()

    def exists(self, driver: Driver, queue_name: str) -> bool:
        return amqp_queue_exists(driver.url, queue_name)

    def bound(self, driver: Driver) -> set[tuple[str, str, str]]:
        rows = rabbitmqctl("list_bindings", "source_name", "destination_name", "routing_key")
        return {(row[0], row[1], row[2]) for row in rows if row[0].startswith(driver.prefix)}

    def make_exchange(self, driver: Driver, name: str) -> None:
        with Connection(driver.url) as connection, connection.channel() as channel:
            channel.exchange_declare(name, "direct", durable=True, auto_delete=False, arguments={"x-made-by": "hand"})

    def drop_exchange(self, driver: Driver, name: str) -> None:
        with Connection(driver.url) as connection, connection.channel() as channel:
            channel.exchange_delete(name)

    def refusing_queue(self, driver: Driver) -> str:
        return driver.prefix + "x" * 300  # longer than AMQP can say

    def test_a_queue_that_was_deleted_is_made_again_with_its_bindings(self, driver: Driver):
        exchange, queue, arrivals = driver.exchange(), driver.reply_queue("a"), Arrivals()
        inbox = driver.inbox(queue, arrivals, temporary=True, bindings=[Binding(exchange, "a")])
        inbox.bind(Binding(exchange, "b")).result(SOON)
        with Connection(driver.url) as connection, connection.channel() as channel:
            channel.queue_delete(queue.name)
        give_up_at = time.monotonic() + SOON
        while len(self.bound(driver)) < 2 and time.monotonic() < give_up_at:
            pass
        driver.announce(exchange, numbered(1, audience="a"), numbered(2, audience="b"))
        arrivals.take(2)

    def test_a_reply_queue_expires_when_nobody_consumes(self, driver: Driver):
        driver.inbox(driver.reply_queue("a"), leave, temporary=True)
        listed = rabbitmqctl("list_queues", "name", "arguments")
        (arguments,) = (row[1] for row in listed if row[0] == f"{driver.prefix}workers-reply-a")
        assert "x-expires" in arguments
        assert "300000" in arguments
