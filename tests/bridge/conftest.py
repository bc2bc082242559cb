"""Where the queue is in these tests, and the bridge in front of it: in this process, or as the command."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr

from asyncmcp_kombu import Settings
from tests import services
from tests.bridge.far import NAME

BROKERS = ("memory", "redis", "sqs")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # uvicorn knows no other


def settings_on(broker: str, request: pytest.FixtureRequest) -> Settings:
    urls: dict[str, Callable[[], str]] = {
        "memory": lambda: services.MEMORY_URL,
        "redis": services.redis_url,
        "sqs": lambda: request.getfixturevalue("sqs_url"),
    }
    return Settings(broker_url=SecretStr(urls[broker]()), prefix=services.new_prefix(), server=NAME, wait_time=2)


@pytest.fixture(params=BROKERS)
def settings(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Of one process, on every broker."""
    settings = settings_on(request.param, request)
    yield settings
    services.cleanup_queues(settings.broker_url.get_secret_value(), settings.prefix)


@pytest.fixture
def memory() -> Iterator[Settings]:
    """Of one process, where the broker makes no difference."""
    settings = Settings(broker_url=SecretStr(services.MEMORY_URL), prefix=services.new_prefix(), server=NAME)
    yield settings
    services.cleanup_queues(services.MEMORY_URL, settings.prefix)


@pytest.fixture(params=["redis", "sqs"])
def shared(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Of several processes."""
    settings = settings_on(request.param, request)
    yield settings
    services.cleanup_queues(settings.broker_url.get_secret_value(), settings.prefix)


@pytest.fixture
def redis(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Of several processes, where the broker makes no difference."""
    settings = settings_on("redis", request)
    yield settings
    services.cleanup_queues(settings.broker_url.get_secret_value(), settings.prefix)
