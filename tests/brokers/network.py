"""What every broker that is reached over a network does besides: it may be away, for a while or for good."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import wait
from typing import Any, ClassVar
from urllib.parse import urlsplit, urlunsplit

import pytest

from asyncmcp_kombu.broker import queues as broker_queues
from asyncmcp_kombu.broker.exchanges import Binding
from asyncmcp_kombu.envelope import parse
from asyncmcp_kombu.errors import BrokerUnreachable, PublishError
from asyncmcp_kombu.topology import EVERYONE
from tests.brokers.base import BrokerContract
from tests.brokers.driver import SOON, Arrivals, Driver, leave, numbered
from tests.brokers.proxy import Proxy
from tests.services import cleanup_queues, free_port


def at_port(broker_url: str, port: int, credentials: str = "") -> str:
    parts = urlsplit(broker_url)
    user = credentials or parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{port}" if user else f"127.0.0.1:{port}"))


def _request_id(message: Any) -> Any:
    return parse(message.body, message.headers).request_id


class NetworkBrokerContract(BrokerContract):
    gives_up_within: ClassVar[float] = 3.0
    """Seconds after which a broker that refuses connections is said to be unreachable."""

    def refusing_queue(self, driver: Driver) -> str:
        """The name of a queue for which the broker refuses messages."""
        raise NotImplementedError

    @pytest.fixture
    def proxy(self, broker_url: str) -> Iterator[Proxy]:
        proxy = Proxy(urlsplit(broker_url).port or 0)
        yield proxy
        proxy.close()

    @pytest.fixture
    def proxied(self, proxy: Proxy, broker_url: str, prefix: str) -> Iterator[Driver]:
        driver = Driver(at_port(broker_url, proxy.port), prefix)
        yield driver
        proxy.restore()
        driver.close()
        cleanup_queues(broker_url, prefix)  # an acknowledgement may have been lost with the connection

    @pytest.fixture
    def nowhere(self, broker_url: str, prefix: str) -> Iterator[Driver]:
        driver = Driver(at_port(broker_url, free_port(), "user:hunter2"), prefix)
        yield driver
        driver.close()

    def test_a_publisher_says_that_nobody_listens(self, nowhere: Driver):
        started = time.monotonic()
        error = nowhere.publisher().publish("q", numbered(1)).exception(SOON)
        assert time.monotonic() - started < self.gives_up_within
        assert isinstance(error, BrokerUnreachable)
        assert "ASYNCMCP_BROKER_URL" in str(error)
        assert "hunter2" not in str(error)

    def test_an_inbox_says_that_nobody_listens(self, nowhere: Driver):
        started = time.monotonic()
        with pytest.raises(BrokerUnreachable) as caught:
            nowhere.inbox(broker_queues.reply_queue("q"), leave)
        assert time.monotonic() - started < self.gives_up_within
        assert "hunter2" not in str(caught.value)

    def test_a_refused_message_does_not_hold_up_the_others(self, driver: Driver):
        good, bad, publisher = driver.queue().name, self.refusing_queue(driver), driver.publisher()
        sent = {n: publisher.publish(bad if n % 3 == 0 else good, numbered(n)) for n in range(40)}
        assert not wait(sent.values(), 5).not_done
        outcomes = {n: type(future.exception()) for n, future in sent.items()}
        assert {kind for n, kind in outcomes.items() if n % 3} == {type(None)}
        assert all(issubclass(kind, PublishError) for n, kind in outcomes.items() if n % 3 == 0)

    def test_a_publisher_that_idled_over_a_lost_connection_sends_over_a_fresh_one(self, proxied: Driver, proxy: Proxy):
        queue, arrivals, publisher = proxied.queue(), Arrivals(), proxied.publisher()
        publisher.publish(queue.name, numbered(1)).result(SOON)
        proxy.cut()
        proxy.restore()
        publisher.publish(queue.name, numbered(2)).result(SOON)
        proxied.inbox(queue, arrivals)
        arrived = {parse(message.body, message.headers).request_id for message in arrivals.take(2)}
        assert arrived == {1, 2}

    def test_a_publisher_that_may_retry_sends_when_the_broker_is_back(self, proxied: Driver, proxy: Proxy):
        queue, arrivals, publisher = proxied.queue(), Arrivals(), proxied.publisher(retry_for=30.0)
        publisher.publish(queue.name, numbered(1)).result(SOON)
        proxy.cut()
        sent = [publisher.publish(queue.name, numbered(n)) for n in range(2, 15)]
        with pytest.raises(TimeoutError):
            sent[0].result(0.5)
        proxy.restore()
        for future in sent:
            future.result(SOON)
        proxied.inbox(queue, arrivals)
        found = {parse(message.body, message.headers).request_id for message in arrivals.take(14)}
        assert found == set(range(1, 15))

    def test_a_publisher_that_may_retry_gives_up_when_closed(self, proxied: Driver, proxy: Proxy):
        queue, publisher = proxied.queue(), proxied.publisher(retry_for=60.0)
        publisher.publish(queue.name, numbered(1)).result(SOON)
        proxy.cut()
        sent = [publisher.publish(queue.name, numbered(n)) for n in range(2, 30)]
        started = time.monotonic()
        publisher.close()
        assert time.monotonic() - started < 6
        assert all(isinstance(future.exception(0), BrokerUnreachable) for future in sent)

    def test_an_inbox_connects_again_when_the_broker_is_back(self, proxied: Driver, proxy: Proxy):
        queue, arrivals = proxied.queue(), Arrivals()
        proxied.inbox(queue, arrivals)
        proxied.send(queue, numbered(1))
        arrivals.next()
        proxy.cut()
        assert arrivals.nothing_more(0.5)
        proxy.restore()
        proxied.send(queue, numbered(2))
        # The acknowledgement of the first may have been lost with the connection.
        arrived = [arrivals.next().message]
        if parse(arrived[0].body, arrived[0].headers).request_id == 1:
            arrived.append(arrivals.next().message)
        assert parse(arrived[-1].body, arrived[-1].headers).request_id == 2

    def test_an_inbox_is_bound_as_before_when_the_broker_is_back(self, proxied: Driver, proxy: Proxy):
        exchange, arrivals, queue = proxied.exchange(), Arrivals(), proxied.reply_queue("a")
        inbox = proxied.inbox(queue, arrivals, temporary=True, bindings=[Binding(exchange, "a")])
        inbox.bind(Binding(exchange, EVERYONE)).result(SOON)
        proxy.cut()
        asked = inbox.bind(Binding(exchange, "b"))
        with pytest.raises(TimeoutError):
            asked.result(0.5)
        proxy.restore()
        asked.result(SOON)
        assert self.bound(proxied) == {(exchange, queue.name, audience) for audience in ("a", "b", EVERYONE)}
        proxied.announce(exchange, *(numbered(n, audience=a) for n, a in enumerate(("a", "b", EVERYONE))))
        assert sorted(parse(one.body, one.headers).request_id for one in arrivals.take(3)) == [0, 1, 2]

    def test_a_publisher_to_an_exchange_that_may_retry_sends_when_the_broker_is_back(
        self, proxied: Driver, proxy: Proxy
    ):
        exchange, arrivals, publisher = proxied.exchange(), Arrivals(), proxied.publisher(retry_for=30.0)
        inbox = proxied.inbox(proxied.queue("workers-audit"), arrivals, bindings=[Binding(exchange, "a")])
        publisher.publish_to(exchange, numbered(1, audience="a")).result(SOON)
        arrivals.take(1)
        proxy.cut()
        sent = [publisher.publish_to(exchange, numbered(n, audience="a")) for n in range(2, 15)]
        with pytest.raises(TimeoutError):
            sent[0].result(0.5)
        proxy.restore()
        for future in sent:
            future.result(SOON)
        arrived: set[Any] = set()
        while not arrived >= set(range(2, 15)):  # what was sent twice arrives twice
            message = arrivals.next().message
            arrived.add(parse(message.body, message.headers).request_id)
        inbox.unbind(Binding(exchange, "a")).result(SOON)

    def test_a_publisher_to_an_exchange_says_that_nobody_listens(self, nowhere: Driver):
        error = nowhere.publisher().publish_to("e", numbered(1, audience="a")).exception(SOON)
        assert isinstance(error, BrokerUnreachable)
        assert "hunter2" not in str(error)

    def test_a_response_that_breaks_off_loses_nothing_that_was_sent(self, proxied: Driver, proxy: Proxy):
        queue, arrivals, publisher = proxied.queue(), Arrivals(), proxied.publisher(retry_for=30.0)
        publisher.publish(queue.name, numbered(0)).result(SOON)
        for n in range(1, 6):
            proxy.break_off(after=n)
            publisher.publish(queue.name, numbered(n)).result(SOON)
        proxy.restore()
        proxied.inbox(queue, arrivals)
        found: set[Any] = set()
        while found != set(range(6)):  # what was accepted without our hearing of it comes twice
            message = arrivals.next().message
            found.add(parse(message.body, message.headers).request_id)

    def test_a_response_that_breaks_off_loses_nothing_that_was_on_its_way(
        self, proxy: Proxy, broker_url: str, prefix: str
    ):
        """The broker has handed the message over; the consumer never saw it."""
        behind = Driver(at_port(broker_url, proxy.port), prefix, visibility_timeout=2)
        direct = Driver(broker_url, prefix)
        try:
            queue, arrivals = direct.queue(), Arrivals()
            behind.inbox(queue, arrivals)
            direct.send(queue, numbered(0))
            arrivals.next()
            found: set[Any] = {0}
            for n in range(1, 6):
                proxy.break_off(after=5 * n)
                direct.send(queue, numbered(n))
                while n not in found:
                    found.add(_request_id(arrivals.next().message))
        finally:
            behind.close()
            direct.close()
            cleanup_queues(broker_url, prefix)

    def test_a_black_hole_holds_up_what_is_sent_and_no_longer(self, proxied: Driver, proxy: Proxy):
        self._send_into_a_black_hole(proxied, proxy, lasting=1.0)

    @pytest.mark.exhaustive
    def test_a_black_hole_that_outlasts_every_timeout_loses_nothing(self, proxied: Driver, proxy: Proxy):
        self._send_into_a_black_hole(proxied, proxy, lasting=35.0, soon=2 * SOON)  # a long poll is given up after 30 s

    def _send_into_a_black_hole(self, proxied: Driver, proxy: Proxy, *, lasting: float, soon: float = SOON) -> None:
        queue, arrivals, publisher = (
            proxied.queue(),
            Arrivals(),
            proxied.publisher(retry_for=120.0 if lasting > 1 else 30.0),
        )
        proxied.inbox(queue, arrivals)
        publisher.publish(queue.name, numbered(1)).result(SOON)
        arrivals.next()
        proxy.swallow()
        sent = publisher.publish(queue.name, numbered(2))
        with pytest.raises(TimeoutError):
            sent.result(lasting)
        proxy.restore()
        sent.result(soon)
        while _request_id(arrivals.next(soon).message) != 2:
            pass

    def test_an_inbox_closes_in_seconds_while_the_broker_is_away(self, proxied: Driver, proxy: Proxy):
        inbox = proxied.inbox(proxied.queue(), Arrivals())
        proxy.cut()
        started = time.monotonic()
        inbox.close()
        assert time.monotonic() - started < 8
