"""Fixtures for all tests: prefixes, the embedded SQS, and the check that the tests left nothing behind."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from asyncmcp_kombu.local import LocalEngine
from tests import services


@pytest.fixture(scope="session", autouse=True)
def no_settings_from_the_shell() -> Iterator[None]:
    """A developer's own ASYNCMCP_* variables must not decide what the tests see."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.upper().startswith("ASYNCMCP_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """No thread of ours, no child process, and no queue with a prefix of the tests on a shared broker."""
    yield
    left = [
        *_waiting_for(_our_threads, "thread"),
        *_waiting_for(_children, "child process"),
        *_queues_left(services.MEMORY_URL),
        *_queues_left_if_there(services.REDIS_URL, 6379),
        *_queues_left_if_there(services.AMQP_URL, 5672),
    ]
    assert not left, "left behind by the tests:\n" + "\n".join(left)


@pytest.fixture(scope="session")
def sqs_url(nothing_left_behind: None) -> Iterator[str]:
    """Broker URL of an embedded SQS endpoint that lives as long as the tests."""
    with LocalEngine(port=0) as engine:
        yield engine.broker_url
        left = _queues_left(engine.broker_url)
    assert not left, "left behind by the tests:\n" + "\n".join(left)


@pytest.fixture
def prefix() -> str:
    """A prefix of this test's own."""
    return services.new_prefix()


def _queues_left_if_there(broker_url: str, port: int) -> list[str]:
    try:
        services.require_port(port, broker_url)
    except (pytest.skip.Exception, pytest.fail.Exception):
        return []
    return _queues_left(broker_url)


def _queues_left(broker_url: str) -> list[str]:
    """What is left is reported once, and removed so that the next run starts clean."""
    names = services.queues_on(broker_url, services.prefixes())
    services.delete_queues(broker_url, names)
    return [f"queue {name} on {broker_url.partition('@')[2] or broker_url}" for name in names]


def _waiting_for(what: Callable[[], list[str]], kind: str, seconds: float = 3.0) -> list[str]:
    """What is still there after a few seconds: an end that is under way is given time."""
    give_up_at = time.monotonic() + seconds
    while (found := what()) and time.monotonic() < give_up_at:
        time.sleep(0.05)
    return [f"{kind} {one}" for one in found]


def _our_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("asyncmcp-")]


def _children() -> list[str]:
    found: list[str] = []
    for child in psutil.Process().children(recursive=True):
        try:
            command = " ".join(child.cmdline())
            if child.status() != psutil.STATUS_ZOMBIE and "multiprocessing.resource_tracker" not in command:
                found.append(f"{child.pid}: {command}")
        except psutil.NoSuchProcess:
            continue
    return found
