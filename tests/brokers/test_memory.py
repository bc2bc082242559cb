"""The contract on Kombu's memory transport: one process, no broker."""

from __future__ import annotations

import pytest
from kombu.transport.memory import Channel, Transport

from tests.brokers.base import BrokerContract
from tests.brokers.driver import Driver
from tests.services import MEMORY_URL


class TestMemory(BrokerContract):
    marks_redelivery = False
    finds_the_dead = False

    @pytest.fixture
    def broker_url(self) -> str:
        return MEMORY_URL

    def exists(self, driver: Driver, queue_name: str) -> bool:
        return queue_name in Channel.queues

    def bound(self, driver: Driver) -> set[tuple[str, str, str]]:
        state = Transport.global_state
        named = {(key.exchange, key.queue, key.routing_key) for key in state.bindings}
        used = {(name, queue, key) for name, one in state.exchanges.items() for key, _, queue in one["table"]}
        assert {one for one in named | used if one[0].startswith(driver.prefix)} == {
            one for one in named & used if one[0].startswith(driver.prefix)
        }
        return {one for one in named if one[0].startswith(driver.prefix)}
