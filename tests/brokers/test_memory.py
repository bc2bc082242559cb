"""The contract on Kombu's memory transport: one process, no broker."""

from __future__ import annotations

import pytest
from kombu.transport.memory import Channel

from tests.brokers.base import BrokerContract
from tests.brokers.driver import Arrivals, Driver, leave, numbered
from tests.services import MEMORY_URL


class TestMemory(BrokerContract):
    marks_redelivery = False

    @pytest.fixture
    def broker_url(self) -> str:
        return MEMORY_URL

    def exists(self, driver: Driver, queue_name: str) -> bool:
        return queue_name in Channel.queues

    def test_what_a_closed_consumer_left_is_given_to_another_at_once(self, driver: Driver):
        """Not in memory: with the consumer, the process ends that alone could consume again."""
        queue, first, second = driver.queue(), Arrivals(leave), Arrivals()
        inbox = driver.inbox(queue, first)
        driver.send(queue, numbered(1))
        first.next()
        inbox.close()
        driver.inbox(queue, second)
        assert second.nothing_more(0.3)
