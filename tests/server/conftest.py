"""Every async test here runs on asyncio and on trio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncmcp_kombu import Settings
from tests import services


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(autouse=True)
def _no_key_of_this_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ASYNCMCP_SECRET_KEY", "0123456789abcdef0123456789abcdef")


@pytest.fixture(params=["sqs", "rabbitmq", "redis", "memory"])
def settings(request: pytest.FixtureRequest, sqs_url: str) -> Iterator[Settings]:
    """Of a server named notes, on every broker."""
    urls = {
        "sqs": lambda: sqs_url,
        "rabbitmq": services.amqp_url,
        "redis": services.redis_url,
        "memory": lambda: services.MEMORY_URL,
    }
    settings = Settings(broker_url=urls[request.param](), prefix=services.new_prefix(), server="notes", wait_time=2)
    yield settings
    services.cleanup_queues(settings.broker_url.get_secret_value(), settings.prefix)
