"""Fleets under test: a native worker process per broker and pool, started when first asked for."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
import redis
from celery import Celery
from mcp import Client
from pytest_celery import CeleryTestWorker

from asyncmcp_kombu import Settings, kombu_client
from asyncmcp_kombu.broker.connection import connect
from asyncmcp_kombu.topology import Topology
from tests import services
from tests.fleet.native import NativeProcess, worker_process
from tests.services import cleanup_queues, new_prefix

APP = "tests.fleet.fleet_app"
SERVER = "testfleet"


@dataclass
class Fleet:
    """A broker, a prefix of its own, and the workers on it."""

    broker_url: str
    prefix: str
    pool: str = "prefork"
    workers: list[CeleryTestWorker] = field(default_factory=list)
    extra_env: dict[str, str] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def env(self) -> dict[str, str]:
        return {"ASYNCMCP_BROKER_URL": self.broker_url, "ASYNCMCP_PREFIX": self.prefix, **self.extra_env}

    @property
    def settings(self) -> Settings:
        return Settings(broker_url=self.broker_url, prefix=self.prefix, server=SERVER)

    @property
    def topology(self) -> Topology:
        return Topology(SERVER, self.prefix)

    @property
    def worker(self) -> NativeProcess:
        return self.workers[0].container

    def start_worker(self, app: str = APP, **options: Any) -> CeleryTestWorker:
        """One more worker; ready when this returns."""
        # RabbitMQ refuses two nodes of one name.
        name = f"{self.prefix}w{next(self.numbers)}"
        process = worker_process(app, self.env, **{"name": name, "pool": self.pool, **options})
        worker = CeleryTestWorker(process, Celery(SERVER))
        self.workers.append(worker)
        process.ready()
        return worker

    def waiting(self) -> int:
        """Requests in the queue, also those that a worker holds where the broker counts them."""
        if self.broker_url.startswith("sqs:"):
            client = services.boto_sqs(self.broker_url)
            url = client.get_queue_url(QueueName=self.topology.requests)["QueueUrl"]
            names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            return sum(map(int, client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()))
        if self.broker_url.startswith("redis:"):
            with redis.Redis.from_url(self.broker_url) as redis_client:
                return redis_client.llen(self.topology.requests) + redis_client.hlen(f"{self.prefix}unacked")
        with connect(self.broker_url, self.settings) as connection, connection.channel() as channel:
            return channel.queue_declare(self.topology.requests, passive=True).message_count

    @contextlib.asynccontextmanager
    async def client(self, timeout: float = 30, **options: Any) -> AsyncGenerator[Client]:
        transport = kombu_client(settings=self.settings)
        async with Client(transport, read_timeout_seconds=timeout, **options) as client:
            yield client

    def begin_to_close(self) -> None:
        """All workers at once: a warm shutdown takes two seconds."""
        for worker in self.workers:
            worker.container.begin_to_terminate()

    def close(self) -> None:
        self.begin_to_close()
        for worker in self.workers:
            worker.container.teardown()
        cleanup_queues(self.broker_url, self.prefix)


@pytest.fixture(scope="session")
def broker_urls(sqs_url: str) -> Callable[[str], str]:
    """The URL of a broker by name; skips or fails when it is not there."""
    return lambda broker: {
        "sqs": lambda: sqs_url,
        "rabbitmq": services.amqp_url,
        "redis": services.redis_url,
    }[broker]()


@pytest.fixture(scope="session")
def fleets(broker_urls: Callable[[str], str]) -> Generator[Callable[..., Fleet]]:
    """Fleets by broker and pool that tests share: pytest-randomly mixes tests, a worker takes seconds to start."""
    running: dict[tuple[str, str], Fleet] = {}

    def fleet(broker: str, pool: str = "prefork") -> Fleet:
        if (broker, pool) not in running:
            running[broker, pool] = started = Fleet(broker_urls(broker), new_prefix(), pool)
            started.start_worker(concurrency=1 if pool == "solo" else 4, E=True)
        return running[broker, pool]

    yield fleet
    for one in running.values():
        one.begin_to_close()
    for one in running.values():
        one.close()


@pytest.fixture(params=["sqs", "rabbitmq", "redis"])
def fleet(request: pytest.FixtureRequest, fleets: Callable[..., Fleet]) -> Fleet:
    """A running fleet on each broker, prefork pool."""
    return fleets(request.param)


@pytest.fixture
def new_fleet(broker_urls: Callable[[str], str]) -> Generator[Callable[..., Fleet]]:
    """Fleets of the test's own, whose workers it may kill."""
    made: list[Fleet] = []

    def fleet(broker: str, pool: str = "prefork", **env: str) -> Fleet:
        made.append(Fleet(broker_urls(broker), new_prefix(), pool, extra_env=env))
        return made[-1]

    yield fleet
    for one in made:
        one.close()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
