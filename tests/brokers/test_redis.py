"""The contract on Redis, and the leases and expiring replies that our transport adds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from asyncmcp_kombu.broker.redis import REPLIES_KEPT
from tests.brokers.driver import Driver, numbered
from tests.brokers.leases import LeaseContract
from tests.brokers.network import NetworkBrokerContract
from tests.services import redis_url


class TestRedis(NetworkBrokerContract, LeaseContract):
    @pytest.fixture
    def broker_url(self) -> str:
        return redis_url()

    @pytest.fixture
    def raw(self, broker_url: str) -> Iterator[redis.Redis]:
        with redis.Redis.from_url(broker_url) as client:
            yield client

    def exists(self, driver: Driver, queue_name: str) -> bool:
        with redis.Redis.from_url(driver.url) as client:
            return bool(client.exists(queue_name))

    def refusing_queue(self, driver: Driver) -> str:
        queue = driver.queue("workers-jobs")
        with redis.Redis.from_url(driver.url) as client:
            client.set(queue.name, "no list")
        return queue.name

    def test_replies_that_nobody_fetches_expire(self, driver: Driver, raw: redis.Redis):
        queue = driver.queue("workers-reply-x")
        driver.send(queue, numbered(1, sequence=0))
        assert REPLIES_KEPT - 60 < raw.ttl(queue.name) <= REPLIES_KEPT

    def test_requests_do_not_expire(self, driver: Driver, raw: redis.Redis):
        queue = driver.queue()
        driver.send(queue, numbered(1))
        assert raw.ttl(queue.name) == -1

    def test_what_is_held_stays_in_redis_until_it_is_settled(self, driver: Driver, raw: redis.Redis):
        queue = driver.queue()
        driver.send(queue, numbered(1))
        with driver.connect() as connection, connection.channel() as channel:
            message = channel.basic_get(queue.name)
            assert channel.qos.unacked_key.startswith(driver.prefix)
            assert (raw.llen(queue.name), raw.hlen(channel.qos.unacked_key)) == (0, 1)
            message.ack()
            assert raw.hlen(channel.qos.unacked_key) == raw.zcard(channel.qos.unacked_index_key) == 0
