"""Fixtures for all tests: prefixes, the embedded SQS, and the check that the tests left nothing behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from asyncmcp_kombu.local import LocalEngine
from tests import services
from tests.fleet.starting import template
from tests.selection import pytest_addoption, pytest_collection_modifyitems, pytest_configure

__all__ = ["pytest_addoption", "pytest_collection_modifyitems", "pytest_configure"]


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_works() -> None:
    """A shell starts a background job with SIGINT ignored, and what the tests start would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def no_settings_from_the_shell() -> Iterator[None]:
    """A developer's own ASYNCMCP_* variables must not decide what the tests see."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.upper().startswith("ASYNCMCP_")]:
            patch.delenv(name)
        yield


_left_on_sqs: list[str] = []


@pytest.fixture(scope="session")
def sqs_url() -> Iterator[str]:
    """Broker URL of an embedded SQS endpoint that lives as long as the tests."""
    with LocalEngine(port=0) as engine:
        yield engine.broker_url
        _left_on_sqs.extend(_queues_left(engine.broker_url))


@pytest.fixture
def prefix() -> str:
    """A prefix of this test's own."""
    return services.new_prefix()


_left_behind = pytest.StashKey[list[str]]()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """No thread of ours, no child process, and no queue with a prefix of the tests may be left behind.

    A hook: a failure of a fixture at the end would count for the last test, which may be expected to fail.
    """
    template.stop()
    session.config.stash[_left_behind] = left = [
        *_waiting_for(_our_threads, "thread"),
        *_waiting_for(_children, "child process"),
        *_left_on_sqs,
        *_queues_left(services.MEMORY_URL),
        *_queues_left_if_there(services.REDIS_URL, 6379),
        *_queues_left_if_there(services.AMQP_URL, 5672),
    ]
    if left and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if left := config.stash.get(_left_behind, []):
        terminalreporter.section("left behind by the tests", red=True)
        for one in left:
            terminalreporter.line(one, red=True)


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
