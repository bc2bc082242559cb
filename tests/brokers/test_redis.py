"""The contract on Redis, and the leases and expiring replies that our transport adds."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import redis
from kombu import Connection as KombuConnection

from asyncmcp_kombu.broker import exchanges
from asyncmcp_kombu.broker.exchanges import Binding
from asyncmcp_kombu.broker.inbox import Inbox
from asyncmcp_kombu.broker.presence import Presence
from asyncmcp_kombu.broker.redis import REPLIES_KEPT
from asyncmcp_kombu.topology import EVERYONE
from tests.brokers.driver import SOON, Arrivals, Driver, leave, numbered
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

    def bound(self, driver: Driver) -> set[tuple[str, str, str]]:
        with redis.Redis.from_url(driver.url, decode_responses=True) as client:
            keys = list(client.scan_iter(f"_kombu.binding*.{driver.prefix}*"))
            rows = [
                (key.rpartition(".")[2], *member.split("\x06\x16")) for key in keys for member in client.smembers(key)
            ]
        return {(exchange, queue, audience) for exchange, audience, _, queue in rows}

    def drop_exchange(self, driver: Driver, name: str) -> None:
        with redis.Redis.from_url(driver.url) as client:
            client.delete(f"_kombu.binding.{name}", f"_kombu.binding_permanent.{name}")

    def refusing_queue(self, driver: Driver) -> str:
        queue = driver.queue("workers-jobs")
        with redis.Redis.from_url(driver.url) as client:
            client.set(queue.name, "no list")
        return queue.name

    def test_replies_that_nobody_fetches_expire(self, driver: Driver, raw: redis.Redis):
        queue = driver.queue("workers-reply-x")
        driver.send(queue, numbered(1, sequence=0))
        assert REPLIES_KEPT - 60 < raw.ttl(queue.name) <= REPLIES_KEPT

    def test_later_messages_do_not_push_the_expiry_back_but_a_living_owner_does(self, driver: Driver, raw: redis.Redis):
        exchange, queue = driver.exchange(), driver.queue("workers-reply-x")
        driver.send(queue, numbered(1, sequence=0))
        raw.expire(queue.name, 100)
        with driver.connect() as connection, connection.channel() as channel:
            exchanges.bind(channel, queue.name, Binding(exchange, "a"))
            driver.announce(exchange, numbered(2, audience="a"))
            driver.send(queue, numbered(3, sequence=0))
            assert raw.llen(queue.name) == 3
            assert 0 < raw.ttl(queue.name) <= 100
            Presence(queue.name).say(channel)
            assert REPLIES_KEPT - 60 < raw.ttl(queue.name) <= REPLIES_KEPT
            channel.queue_delete(queue.name)

    @pytest.mark.parametrize("name", ["workers-reply-x", "workers-control-x"])
    def test_events_for_a_dead_owner_expire(self, driver: Driver, raw: redis.Redis, name: str):
        exchange, queue = driver.exchange(), driver.queue(name)
        with driver.connect() as connection, connection.channel() as channel:
            exchanges.bind(channel, queue.name, Binding(exchange, EVERYONE))
            driver.announce(exchange, numbered(1, audience=EVERYONE))
            assert REPLIES_KEPT - 60 < raw.ttl(queue.name) <= REPLIES_KEPT
            channel.queue_delete(queue.name)

    def test_what_a_dead_owner_held_is_given_back_into_a_list_that_expires(self, driver: Driver, raw: redis.Redis):
        queue = driver.queue("workers-reply-x")
        driver.send(queue, numbered(1, sequence=0))
        with driver.connect() as connection, connection.channel() as channel:
            channel.basic_get(queue.name).reject(requeue=True)
            assert raw.llen(queue.name) == 1
            assert REPLIES_KEPT - 60 < raw.ttl(queue.name) <= REPLIES_KEPT

    def test_an_owner_that_closed_in_order_leaves_no_word(self, driver: Driver, raw: redis.Redis):
        inbox = driver.inbox(driver.reply_queue("x"), leave, temporary=True)
        assert raw.zcard(f"{driver.prefix}presence") == 1
        inbox.close()
        assert not raw.exists(f"{driver.prefix}presence")

    def test_what_redis_lost_is_bound_again_by_the_same_process(self, driver: Driver):
        exchange, arrivals, binding = driver.exchange(), Arrivals(), Binding(driver.exchange(), "a")
        inbox = driver.inbox(driver.reply_queue("x"), arrivals, temporary=True, bindings=[binding])
        self.drop_exchange(driver, exchange)
        inbox.bind(binding).result(SOON)
        driver.announce(exchange, numbered(1, audience="a"))
        arrivals.take(1)

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
            give_up_at = time.monotonic() + SOON  # acknowledgements are gathered for a moment
            while raw.hlen(channel.qos.unacked_key) and time.monotonic() < give_up_at:
                time.sleep(0.005)
            assert raw.hlen(channel.qos.unacked_key) == raw.zcard(channel.qos.unacked_index_key) == 0

    def test_what_is_settled_just_before_closing_does_not_come_again(self, driver: Driver, raw: redis.Redis):
        queue = driver.queue()
        driver.send(queue, *(numbered(n) for n in range(20)))
        with driver.connect() as connection, connection.channel() as channel:
            for _ in range(20):
                channel.basic_get(queue.name).ack()
            qos = channel.qos
        assert (raw.llen(queue.name), raw.hlen(qos.unacked_key), raw.zcard(qos.unacked_index_key)) == (0, 0, 0)

    def test_what_a_plain_kombu_client_sends_is_found_without_a_token(self, driver: Driver, raw: redis.Redis):
        queue, arrivals = driver.queue(), Arrivals()
        driver.inbox(queue, arrivals)
        driver.send(queue, numbered(1))
        copy = arrivals.take(1)[0]._raw
        with KombuConnection(driver.url, transport="kombu.transport.redis:Transport") as connection:
            connection.channel()._put(queue.name, copy)
        arrivals.take(1, timeout=5.0)

    def test_copies_that_share_a_delivery_tag_are_settled_each_by_itself(self, driver: Driver, raw: redis.Redis):
        queue = driver.queue()
        driver.send(queue, numbered(1))
        raw.lpush(queue.name, raw.lindex(queue.name, 0))
        with driver.connect() as connection, connection.channel() as channel:
            first, second = channel.basic_get(queue.name), channel.basic_get(queue.name)
            first.ack()
            second.reject(requeue=True)
            assert raw.llen(queue.name) == 1
            channel.basic_get(queue.name).ack()

    def test_what_is_no_message_at_all_reaches_whoever_can_refuse_it(self, driver: Driver, raw: redis.Redis):
        queue, arrivals = driver.queue(), Arrivals()
        raw.lpush(queue.name, b"{not json", b"[1]", b"\xff\x00")
        driver.inbox(queue, arrivals)
        assert [one.body for one in arrivals.take(3)][:2] == [b"{not json", b"[1]"]

    def test_what_cannot_be_given_back_does_not_keep_others_from_it(self, short: Driver, raw: redis.Redis):
        """Garbage that a dead consumer held."""
        queue, arrivals = short.queue(), Arrivals()
        short.send(queue, numbered(1))
        with short.connect() as connection:
            channel = connection.channel()
            channel.basic_get(queue.name)
            held = channel.unacked_key, channel.unacked_index_key
            raw.hset(held[0], "garbage", "[{not json,")
            raw.zadd(held[1], {"garbage": 1.0})
            channel.qos.end()
            channel.qos._delivered.clear()
        short.inbox(queue, arrivals)
        arrivals.take(1)
        assert not raw.hexists(held[0], "garbage")

    def test_who_dies_while_giving_back_holds_up_the_others_for_seconds_only(self, driver: Driver):
        with driver.connect() as connection, connection.channel() as channel:
            assert channel.qos.unacked_mutex_expire == 5

    def test_two_consumers_are_both_woken(self, driver: Driver):
        """One token is enough for many messages: who takes it passes it on when something is left."""
        queue, first, second = driver.queue(), Arrivals(leave), Arrivals(leave)
        for arrivals in (first, second):
            inbox = Inbox(driver.connect, queue, arrivals, temporary=False, prefetch=2)
            inbox.start()
            driver.closing(inbox.close)
        driver.send(queue, *(numbered(n) for n in range(4)))
        first.take(2)
        second.take(2)
