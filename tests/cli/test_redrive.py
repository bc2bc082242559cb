"""`asyncmcp-kombu queues redrive` as a person uses it, on every broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asyncmcp_kombu.broker import queues as broker_queues
from asyncmcp_kombu.envelope import parse
from asyncmcp_kombu.server.dead_letters import bury
from asyncmcp_kombu.topology import Topology
from tests.brokers.driver import SOON, Arrivals, Driver, numbered
from tests.cli.test_queues import here
from tests.fleet.conftest import broker_urls  # noqa: F401  fixture
from tests.services import boto_sqs


@pytest.fixture(params=["sqs", "redis", "rabbitmq"])
def driver(request: pytest.FixtureRequest, broker_urls: Callable[[str], str], prefix: str) -> Iterator[Driver]:  # noqa: F811
    driver = Driver(broker_urls(request.param), prefix)
    yield driver
    driver.close()


def bury_some(driver: Driver, count: int) -> None:
    driver.queue("workers-requests")
    driver.queue("workers-dead")
    publisher, topology = driver.publisher(), Topology("workers", driver.prefix)
    for n in range(count):
        one = numbered(n, client_id="c" * 32, reply_to=topology.reply("c" * 32), expires_at=1.0)
        bury(one.body, one.headers(), "too-many-receives", topology.dead, publisher, 1_048_576).result(SOON)
    bury(b"\xff{not json", {"ReplyTo": "elsewhere"}, "not-json", topology.dead, publisher, 1_048_576).result(SOON)


def test_dead_letters_go_back_as_the_requests_they_were(driver: Driver) -> None:
    bury_some(driver, 3)
    env = {"ASYNCMCP_BROKER_URL": driver.url, "ASYNCMCP_PREFIX": driver.prefix}
    assert f"4 of 4 would go from {driver.prefix}workers-dead" in here("redrive", "--dry-run", env=env).stdout
    refused = here("redrive", env=env)  # nobody confirms
    assert refused.exit_code == 1
    moved = here("redrive", "--limit", "1", "--yes", env=env)
    assert (moved.exit_code, moved.stdout.splitlines()[-1]) == (0, f"1 sent to {driver.prefix}workers-requests.")
    rest = here("redrive", "-y", env=env)
    assert rest.stdout.splitlines()[-1] == f"3 sent to {driver.prefix}workers-requests."
    assert "No dead letters" in here("redrive", env=env).stdout

    arrivals = Arrivals()
    driver.inbox(driver.queue("workers-requests"), arrivals)
    found: dict[Any, Any] = {}
    for message in arrivals.take(4):
        if b"ping" in bytes(message.body if isinstance(message.body, bytes) else message.body.encode()):
            envelope = parse(message.body, message.headers)
            found[envelope.request_id] = envelope
    assert sorted(found) == [0, 1, 2]
    assert {one.client_id for one in found.values()} == {"c" * 32}
    assert {one.expires_at for one in found.values()} == {None}


def test_a_body_beyond_the_limit_is_cut_and_says_so(driver: Driver) -> None:
    driver.queue("workers-dead")
    topology, arrivals = Topology("workers", driver.prefix), Arrivals()
    bury("x" * 2_000_000, {}, "too-large", topology.dead, driver.publisher(), 1_048_576).result(SOON)
    driver.inbox(driver.queue("workers-dead"), arrivals)
    message = arrivals.next().message
    assert int(message.headers["Cut"]) == 2_000_000
    assert len(message.body) == 65_536


def test_sqs_itself_buries_what_nobody_could_refuse(sqs_url: str, prefix: str) -> None:
    driver, topology = Driver(sqs_url, prefix), Topology("workers", prefix)
    try:
        driver.queue("workers-requests")
        driver.queue("workers-dead")
        for most in (7, 9):  # the second finds one there, and leaves it
            with driver.connect() as connection:
                broker_queues.have_dead_letters(connection, topology, most)
        client = boto_sqs(sqs_url)
        url = client.get_queue_url(QueueName=topology.requests)["QueueUrl"]
        policy = client.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])["Attributes"]
        assert f"{topology.dead}" in policy["RedrivePolicy"]
        assert '"7"' in policy["RedrivePolicy"] or ": 7" in policy["RedrivePolicy"]
    finally:
        driver.close()
