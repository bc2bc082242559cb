"""The contract on RabbitMQ."""

from __future__ import annotations

import pytest

from tests.brokers.driver import Driver
from tests.brokers.network import NetworkBrokerContract
from tests.services import amqp_queue_exists, amqp_url


class TestRabbitMQ(NetworkBrokerContract):
    @pytest.fixture
    def broker_url(self) -> str:
        return amqp_url()

    def exists(self, driver: Driver, queue_name: str) -> bool:
        return amqp_queue_exists(driver.url, queue_name)

    def refusing_queue(self, driver: Driver) -> str:
        return driver.prefix + "x" * 300  # longer than AMQP can say
