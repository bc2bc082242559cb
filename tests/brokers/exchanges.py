"""What every broker's exchanges do for us; inherited through BrokerContract, never collected by itself."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest

from asyncmcp_kombu.broker import exchanges
from asyncmcp_kombu.broker.exchanges import Binding
from asyncmcp_kombu.envelope import compose, parse
from asyncmcp_kombu.errors import BrokerUnreachable, MessageTooLarge
from asyncmcp_kombu.topology import EVERYONE
from tests.brokers.driver import SOON, Arrivals, Driver, leave, numbered
from tests.services import queues_on, quick

A_MOMENT = 0.3
"""Seconds for which nothing must arrive."""


def ids(messages: list[Any]) -> list[Any]:
    return [parse(message.body, message.headers).request_id for message in messages]


class ExchangeContract:
    keeps_order: ClassVar[bool] = True

    def bound(self, driver: Driver) -> set[tuple[str, str, str]]:
        """Exchange, queue and audience of the driver's bindings, asked of the broker without our package."""
        raise NotImplementedError

    def make_exchange(self, driver: Driver, name: str) -> None:
        """As an operator makes it."""

    def drop_exchange(self, driver: Driver, name: str) -> None:
        """As an operator deletes it, with the bindings."""

    # --- who gets what ---

    def test_a_bound_queue_gets_the_very_message_that_a_direct_publish_would_bring(self, driver: Driver):
        sent = compose(
            {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"x": "größe 日本 😀 \n\0"}},
            client_id="c" * 32,
            audience="c" * 32,
            sequence=3,
            protocol_version="2026-07-28",
            related_request="ü",
        )
        exchange, arrivals = driver.exchange(), Arrivals()
        queue = driver.reply_queue("a")
        driver.inbox(queue, arrivals, temporary=True, bindings=[Binding(exchange, "c" * 32)])
        driver.announce(exchange, sent)
        (announced,) = arrivals.take(1)
        driver.send(queue, sent)
        (direct,) = arrivals.take(1)
        assert announced.body == direct.body
        assert announced.headers == direct.headers
        assert announced.content_type == direct.content_type
        assert parse(announced.body, announced.headers).body == sent.body

    def test_only_queues_bound_for_the_audience_get_it(self, driver: Driver):
        exchange = driver.exchange()
        mine, everyones, others, unbound = Arrivals(), Arrivals(), Arrivals(), Arrivals()
        driver.inbox(driver.reply_queue("a"), mine, temporary=True, bindings=[Binding(exchange, "a")])
        driver.inbox(driver.reply_queue("b"), everyones, temporary=True, bindings=[Binding(exchange, EVERYONE)])
        other = Binding(driver.exchange("workers-control"), "a")
        driver.inbox(driver.reply_queue("c"), others, temporary=True, bindings=[other])
        driver.inbox(driver.reply_queue("d"), unbound, temporary=True)
        driver.announce(exchange, numbered(1, audience="a"), numbered(2, audience=EVERYONE))
        assert ids(mine.take(1)) == [1]
        assert ids(everyones.take(1)) == [2]
        assert all(arrivals.nothing_more(A_MOMENT) for arrivals in (mine, everyones, others, unbound))

    def test_an_envelope_that_names_no_audience_is_for_its_client(self, driver: Driver):
        exchange, arrivals = driver.exchange(), Arrivals()
        driver.inbox(driver.reply_queue("a"), arrivals, temporary=True, bindings=[Binding(exchange, "a")])
        driver.announce(exchange, numbered(1, client_id="a"), numbered(2, client_id="a", audience="b"))
        (message,) = arrivals.take(1)
        assert parse(message.body, message.headers).audience == "a"
        assert arrivals.nothing_more(A_MOMENT)

    def test_a_queue_may_be_bound_for_two_audiences_and_loses_them_one_by_one(self, driver: Driver):
        exchange, arrivals = driver.exchange(), Arrivals()
        queue = driver.reply_queue("a")
        inbox = driver.inbox(queue, arrivals, temporary=True, bindings=[Binding(exchange, "a")])
        inbox.bind(Binding(exchange, EVERYONE)).result(SOON)
        both = numbered(1, audience="a"), numbered(2, audience=EVERYONE)
        driver.announce(exchange, *both)
        assert sorted(ids(arrivals.take(2))) == [1, 2]
        inbox.unbind(Binding(exchange, "a")).result(SOON)
        assert self.bound(driver) == {(exchange, queue.name, EVERYONE)}
        driver.announce(exchange, *both)
        assert ids(arrivals.take(1)) == [2]
        inbox.unbind(Binding(exchange, EVERYONE)).result(SOON)
        assert self.bound(driver) == set()
        driver.announce(exchange, *both)
        assert arrivals.nothing_more(A_MOMENT)

    def test_binding_twice_brings_one_copy_and_unbinding_twice_is_no_error(self, driver: Driver):
        exchange, arrivals = driver.exchange(), Arrivals()
        binding = Binding(exchange, "a")
        inbox = driver.inbox(driver.reply_queue("a"), arrivals, temporary=True, bindings=[binding])
        inbox.bind(binding).result(SOON)
        inbox.bind(binding).result(SOON)
        driver.announce(exchange, numbered(1, audience="a"))
        assert ids(arrivals.take(1)) == [1]
        assert arrivals.nothing_more(A_MOMENT)
        inbox.unbind(binding).result(SOON)
        inbox.unbind(binding).result(SOON)
        driver.announce(exchange, numbered(2, audience="a"))
        assert arrivals.nothing_more(A_MOMENT)

    def test_a_queue_may_be_bound_to_two_exchanges(self, driver: Driver):
        arrivals, both = Arrivals(), [driver.exchange("workers-events"), driver.exchange("workers-control")]
        driver.inbox(
            driver.reply_queue("a"), arrivals, temporary=True, bindings=[Binding(name, EVERYONE) for name in both]
        )
        for number, exchange in enumerate(both):
            driver.announce(exchange, numbered(number, audience=EVERYONE))
        assert sorted(ids(arrivals.take(2))) == [0, 1]

    def test_every_queue_has_a_copy_of_its_own_to_settle(self, driver: Driver):
        turns = iter(["reject", "ack"])

        def reject_once(message: Any) -> None:
            message.reject(requeue=True) if next(turns) == "reject" else message.ack()

        exchange, rejecting, acking = driver.exchange(), Arrivals(reject_once), Arrivals()
        for owner, arrivals in (("a", rejecting), ("b", acking)):
            driver.inbox(driver.reply_queue(owner), arrivals, temporary=True, bindings=[Binding(exchange, EVERYONE)])
        driver.announce(exchange, numbered(1, audience=EVERYONE))
        assert ids(rejecting.take(2)) == [1, 1]
        assert ids(acking.take(1)) == [1]
        assert acking.nothing_more(A_MOMENT)

    def test_what_is_published_while_the_consumer_is_away_waits_in_the_queue(self, driver: Driver):
        exchange, queue, arrivals = driver.exchange(), driver.queue("workers-audit"), Arrivals()
        driver.inbox(queue, leave, bindings=[Binding(exchange, EVERYONE)]).close()
        driver.announce(exchange, numbered(1, audience=EVERYONE))
        inbox = driver.inbox(queue, arrivals)
        assert ids(arrivals.take(1)) == [1]
        inbox.unbind(Binding(exchange, EVERYONE)).result(SOON)
        assert self.bound(driver) == set()

    # --- publishing ---

    def test_publishing_where_nobody_is_bound_succeeds(self, driver: Driver):
        driver.announce(driver.exchange(), *(numbered(n, audience="nobody") for n in range(3)))

    def test_100_messages_to_an_exchange_and_a_queue_all_arrive_once(self, driver: Driver):
        exchange, arrivals, publisher = driver.exchange(), Arrivals(), driver.publisher()
        queue = driver.reply_queue("a")
        driver.inbox(queue, arrivals, temporary=True, bindings=[Binding(exchange, "a")])
        sent = [
            publisher.publish(queue.name, numbered(n)) if n % 3 else publisher.publish_to(exchange, envelope)
            for n in range(100)
            for envelope in [numbered(n, audience="a")]
        ]
        assert [future.exception(SOON) for future in sent] == [None] * 100
        arrived = ids(arrivals.take(100))
        assert (arrived if self.keeps_order else sorted(arrived)) == list(range(100))
        assert arrivals.nothing_more(A_MOMENT)

    def test_an_exchange_that_an_operator_made_is_used_as_it_is(self, driver: Driver):
        exchange, arrivals = driver.exchange(), Arrivals()
        self.make_exchange(driver, exchange)
        driver.announce(exchange, numbered(1, audience="a"))
        driver.inbox(driver.reply_queue("a"), arrivals, temporary=True, bindings=[Binding(exchange, "a")])
        driver.announce(exchange, numbered(2, audience="a"))
        assert ids(arrivals.take(1)) == [2]

    def test_an_exchange_that_was_deleted_is_made_again_when_something_is_published_or_bound(self, driver: Driver):
        exchange, arrivals = driver.exchange(), Arrivals()
        inbox = driver.inbox(driver.reply_queue("a"), arrivals, temporary=True, bindings=[Binding(exchange, "a")])
        driver.announce(exchange, numbered(1, audience="a"))
        arrivals.take(1)
        self.drop_exchange(driver, exchange)
        driver.announce(exchange, numbered(2, audience="a"))
        inbox.bind(Binding(exchange, "a")).result(SOON)
        driver.announce(exchange, numbered(3, audience="a"), numbered(4, audience="a"))
        assert 3 in ids(arrivals.take(2))

    def test_an_envelope_without_audience_is_a_mistake(self, driver: Driver):
        with pytest.raises(ValueError, match="audience"):
            driver.publisher().publish_to(driver.exchange(), numbered(1))

    def test_a_message_too_large_for_an_exchange_fails_at_once(self, driver: Driver):
        large = compose({"jsonrpc": "2.0", "method": "x", "params": {"x": "y" * 2_000}}, audience="a")
        error = driver.publisher(max_bytes=2_000).publish_to(driver.exchange(), large).exception(0)
        assert isinstance(error, MessageTooLarge)

    # --- closing ---

    def test_closing_a_temporary_inbox_is_quick_and_leaves_neither_queue_nor_binding(self, driver: Driver):
        exchange, control = driver.exchange(), driver.exchange("workers-control")
        bindings = [Binding(exchange, "a"), Binding(control, EVERYONE)]
        inbox = driver.inbox(driver.reply_queue("a"), leave, temporary=True, bindings=bindings)
        inbox.bind(Binding(exchange, EVERYONE)).result(SOON)
        driver.announce(exchange, numbered(1, audience="a"))
        started = time.monotonic()
        inbox.close()
        assert time.monotonic() - started < quick(1)
        driver.announce(exchange, numbered(2, audience="a"))
        assert self.bound(driver) == set()
        assert set(queues_on(driver.url, [driver.prefix])) <= {exchange, control}

    def test_deleting_a_queue_removes_what_its_inbox_bound(self, driver: Driver):
        exchange, name = driver.exchange(), driver.name("workers-reply-a")
        with driver.connect() as connection, connection.channel() as channel:
            channel.queue_declare(name)
            exchanges.bind(channel, name, Binding(exchange, "a"), Binding(exchange, EVERYONE))
            assert self.bound(driver) == {(exchange, name, "a"), (exchange, name, EVERYONE)}
            channel.queue_delete(name)
            assert self.bound(driver) == set()
        driver.announce(exchange, numbered(1, audience="a"))
        assert name not in queues_on(driver.url, [driver.prefix])

    def test_bindings_may_be_asked_for_from_any_thread(self, driver: Driver):
        exchange, arrivals = driver.exchange(), Arrivals()
        inbox = driver.inbox(driver.reply_queue("a"), arrivals, temporary=True)
        with ThreadPoolExecutor(8) as pool:
            asked = list(pool.map(lambda n: inbox.bind(Binding(exchange, f"client-{n}")), range(8)))
        for future in asked:
            future.result(SOON)
        driver.announce(exchange, *(numbered(n, audience=f"client-{n}") for n in range(8)))
        assert sorted(ids(arrivals.take(8))) == list(range(8))

    def test_a_closed_inbox_binds_nothing(self, driver: Driver):
        inbox = driver.inbox(driver.reply_queue("a"), leave, temporary=True)
        inbox.close()
        assert isinstance(inbox.bind(Binding(driver.exchange(), "a")).exception(SOON), BrokerUnreachable)
        assert self.bound(driver) == set()
