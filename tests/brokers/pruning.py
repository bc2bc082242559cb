"""What every broker tells of its queues, and what is deleted when an owner died; inherited through BrokerContract."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import ClassVar

import pytest

from asyncmcp_kombu.broker import prune as pruning
from asyncmcp_kombu.broker import queues as broker_queues
from asyncmcp_kombu.broker.exchanges import Binding
from asyncmcp_kombu.broker.prune import QueueInfo, prune, survey
from asyncmcp_kombu.topology import EVERYONE, Topology, new_client_id
from tests.brokers.driver import Arrivals, Driver, numbered
from tests.services import delete_queues, queues_on

HOUR = 3600.0

_OWNER = """
import sys, time
clock, late = time.time, float(sys.argv[4])
time.time = lambda: clock() - late
from tests.brokers.driver import Driver, leave
from asyncmcp_kombu.broker.exchanges import Binding
from asyncmcp_kombu.broker.queues import reply_queue
driver = Driver(*sys.argv[1:3])
driver.inbox(reply_queue(sys.argv[3]), leave, temporary=True, bindings=[Binding(name, "*") for name in sys.argv[5:]])
print("bound", flush=True)
sys.stdin.read()
"""


@contextmanager
def owner(driver: Driver, queue: str, bound_to: list[str], *, last_word: float) -> Iterator[subprocess.Popen[str]]:
    """A process with a temporary inbox, whose clock is `last_word` seconds late; killed at the end."""
    command = [sys.executable, "-c", _OWNER, driver.url, driver.prefix, queue, str(last_word), *bound_to]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "bound\n"
        yield process
        process.kill()


class PruningContract:
    finds_the_dead: ClassVar[bool] = True
    """Whether abandoned queues are ours to find; RabbitMQ expires them, and memory ends with its process."""
    knows_when_queues_were_made: ClassVar[bool] = False

    def bound(self, driver: Driver) -> set[tuple[str, str, str]]:
        raise NotImplementedError

    @pytest.fixture
    def topology(self, driver: Driver) -> Topology:
        return Topology("workers", driver.prefix)

    def survey(self, driver: Driver, topology: Topology) -> dict[str, QueueInfo]:
        with driver.connect() as connection:
            return {info.name: info for info in survey(connection, topology)}

    def prune(self, driver: Driver, topology: Topology, *, dry_run: bool = False) -> list[str]:
        with driver.connect() as connection:
            return prune(connection, topology, HOUR, dry_run=dry_run)

    def test_a_servers_queues_are_listed_with_what_waits_in_them(self, driver: Driver, topology: Topology):
        for kind in ("requests", "jobs", "dead"):
            queue = driver.queue(f"workers-{kind}")
            driver.send(queue, *(numbered(n) for n in range(2 if kind == "jobs" else 1)))
        driver.send(driver.queue("others-requests"), numbered(1))
        found = self.survey(driver, topology)
        assert {name: (info.kind, info.messages, info.abandoned) for name, info in found.items()} == {
            topology.requests: ("requests", 1, False),
            topology.jobs: ("jobs", 2, False),
            topology.dead: ("dead", 1, False),
        }

    def test_a_living_owner_is_seen_and_keeps_its_queue_and_its_bindings(self, driver: Driver, topology: Topology):
        exchange, arrivals, queue = driver.exchange(), Arrivals(), driver.reply_queue(new_client_id())
        inbox = driver.inbox(queue, arrivals, temporary=True, bindings=[Binding(exchange, EVERYONE)])
        if self.finds_the_dead:
            info = self.survey(driver, topology)[queue.name]
            assert (info.kind, info.abandoned) == ("reply", False)
            assert info.last_seen is not None
            assert abs(time.time() - info.last_seen) < 30
        assert self.prune(driver, topology) == []
        driver.announce(exchange, numbered(1, audience=EVERYONE))
        arrivals.next()
        inbox.close()
        assert queue.name not in self.survey(driver, topology)
        assert set(queues_on(driver.url, [driver.prefix])) <= {exchange}

    def test_a_dead_owners_queue_goes_with_its_bindings(self, driver: Driver, topology: Topology):
        if not self.finds_the_dead:
            pytest.skip("the broker does this")
        names = [topology.reply(new_client_id()), topology.control_queue("0123456789abcdef")]
        bound_to = [driver.exchange("workers-events"), driver.exchange("workers-control")]
        for name in names:
            with owner(driver, name, bound_to, last_word=2 * HOUR):
                pass
        driver.announce(bound_to[0], numbered(1, audience=EVERYONE))
        assert [self.survey(driver, topology)[name].abandoned for name in names] == [True, True]
        assert sorted(self.prune(driver, topology, dry_run=True)) == sorted(names)
        assert len(self.bound(driver)) == 4
        assert sorted(self.prune(driver, topology)) == sorted(names)
        assert self.bound(driver) == set()
        assert set(queues_on(driver.url, [driver.prefix])) <= set(bound_to)
        assert self.prune(driver, topology) == []

    def test_an_owner_that_died_lately_keeps_its_queue_for_now(self, driver: Driver, topology: Topology):
        if not self.finds_the_dead:
            pytest.skip("the broker does this")
        name, exchange = topology.reply(new_client_id()), driver.exchange()
        with owner(driver, name, [exchange], last_word=HOUR / 2):
            pass
        assert self.prune(driver, topology) == []
        with driver.connect() as connection:
            assert prune(connection, topology, HOUR / 4) == [name]

    def test_nothing_but_this_servers_reply_and_control_queues_is_touched(
        self, driver: Driver, topology: Topology, monkeypatch: pytest.MonkeyPatch
    ):
        others = ["workers-requests", "workers-jobs", "workers-dead", "workers-audit", "workers-reply-b-requests"]
        others += ["others-reply-a", "workersx-control-a", "workers-reply-x-reply-a"]
        for suffix in others:
            driver.send(driver.queue(suffix), numbered(1))
        with driver.connect() as connection:
            stranger = broker_queues.reply_queue(f"x{driver.name('workers-reply-a')}")
            broker_queues.ensure(connection, stranger)
            driver.send(stranger, numbered(1))
        self.a_day_later(monkeypatch)
        assert self.prune(driver, topology) == []
        delete_queues(driver.url, [stranger.name])

    def test_a_queue_whose_owner_never_said_a_word_goes_when_it_is_old_enough(
        self, driver: Driver, topology: Topology, monkeypatch: pytest.MonkeyPatch
    ):
        if not self.knows_when_queues_were_made:
            pytest.skip("the broker does not know")
        name = driver.queue("workers-reply-old").name
        info = self.survey(driver, topology)[name]
        assert (info.last_seen, info.abandoned) == (None, False)
        assert self.prune(driver, topology) == []
        self.a_day_later(monkeypatch)
        assert self.prune(driver, topology) == [name]
        driver.queue("workers-reply-old")

    @staticmethod
    def a_day_later(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pruning, "time", SimpleNamespace(time=lambda: time.time() + 24 * HOUR))

    def test_control_queues_expire_as_reply_queues_do(self):
        assert broker_queues.control_queue("c").expires == broker_queues.REPLY_QUEUE_EXPIRES
