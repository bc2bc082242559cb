"""What brokers do for us that lease messages: short leases, renewed while a message is held."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from asyncmcp_kombu.envelope import parse
from tests.brokers.base import BrokerContract
from tests.brokers.driver import Arrivals, Driver, leave, numbered

LEASE = 2

_HOLDER = """
import sys, time
from tests.brokers.driver import Arrivals, Driver, leave
from tests.brokers.leases import LEASE
url, prefix, name = sys.argv[1:]
from asyncmcp_kombu.broker.queues import reply_queue
driver, arrivals = Driver(url, prefix, visibility_timeout=LEASE), Arrivals(leave)
driver.inbox(reply_queue(name), arrivals)
arrivals.next()
print("held", flush=True)
sys.stdin.read()
"""


class LeaseContract(BrokerContract):
    @pytest.fixture
    def short(self, broker_url: str, prefix: str) -> Iterator[Driver]:
        driver = Driver(broker_url, prefix, visibility_timeout=LEASE)
        yield driver
        driver.close()

    def test_what_is_held_for_longer_than_its_lease_is_given_to_nobody_else(self, short: Driver):
        queue, first, second = short.queue(), Arrivals(leave), Arrivals()
        inbox = short.inbox(queue, first)
        short.send(queue, numbered(1), numbered(2))
        first.take(2)
        short.inbox(queue, second)
        assert second.nothing_more(LEASE * 1.5)
        inbox.close()
        assert sorted(parse(one.body, one.headers).request_id for one in second.take(2)) == [1, 2]

    def test_what_a_killed_consumer_held_comes_again_when_its_lease_lapses(self, short: Driver):
        queue, arrivals = short.queue(), Arrivals()
        short.send(queue, numbered(1))
        with subprocess.Popen(
            [sys.executable, "-c", _HOLDER, short.url, short.prefix, queue.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            holder.kill()
            killed_at = time.monotonic()
        short.inbox(queue, arrivals)
        again = arrivals.next()
        assert again.redelivered
        assert again.at - killed_at < LEASE + 3
