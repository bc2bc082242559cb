"""The contract on RabbitMQ."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.brokers.driver import Driver
from tests.brokers.network import NetworkBrokerContract
from tests.services import amqp_queue_exists, amqp_url


class TestRabbitMQ(NetworkBrokerContract):
    known_bugs: ClassVar = {
        "test_a_cancelled_future_does_not_hold_up_the_others": "set_result ends the publisher's thread",
        "test_a_publisher_says_that_nobody_listens": "Connection.channel() naps for 2 s",
        "test_an_inbox_says_that_nobody_listens": "default_channel tries for more than 5 s",
        "test_a_publisher_that_may_retry_gives_up_when_closed": "every attempt naps for 2 s",
        "test_a_refused_message_does_not_hold_up_the_others": "the batch goes on without a connection",
    }

    @pytest.fixture
    def broker_url(self) -> str:
        return amqp_url()

    def exists(self, driver: Driver, queue_name: str) -> bool:
        return amqp_queue_exists(driver.url, queue_name)

    def refusing_queue(self, driver: Driver) -> str:
        return driver.prefix + "x" * 300  # longer than AMQP can say
