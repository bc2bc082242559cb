"""What `make test` runs of the whole matrix: a machine of two cores needs half an hour for all of it.

Every behaviour runs; what repeats it on one more broker or pool waits for `make test-all` (`pytest --exhaustive`).
A test of several brokers runs on SQS and in memory; the brokers' own contract (tests/brokers) runs on all.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import pytest

BROKERS = ("sqs", "rabbitmq", "redis", "memory")
CHOSEN = ("sqs", "memory")
ON_EVERY_BROKER = (
    "tests/brokers",
    "tests/fleet/test_calls.py",
    "tests/fleet/test_crash.py",
    "tests/tasks/test_many.py",
)
HERE = Path(__file__).parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--exhaustive", action="store_true", help="the whole matrix: every test on every broker and pool")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "exhaustive: repeats what another test shows; runs with --exhaustive")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    named = any("::" in argument for argument in config.args)  # who names a test wants that test
    if config.getoption("exhaustive") or named:
        return
    later = set(repeats(items))
    config.hook.pytest_deselected(items=list(later))
    items[:] = [item for item in items if item not in later]


def repeats(items: Iterable[pytest.Item]) -> Iterable[pytest.Item]:
    """The tests that may wait."""
    groups: dict[Hashable, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("exhaustive") is not None:
            yield item
        else:
            groups[item.parent, getattr(item, "originalname", item.name)].append(item)
    for group in groups.values():
        has_choice = any(broker_of(item) == "sqs" for item in group) and not _on_every_broker(group[0])
        for item in group:
            broker, params = broker_of(item), _params(item)
            on_trio = params.get("anyio_backend") == "trio" and broker not in (None, "memory")
            if on_trio or (has_choice and (broker not in (None, *CHOSEN) or _is_memory_fleet(params))):
                yield item


def broker_of(item: pytest.Item) -> str | None:
    """The broker that a test is parametrized with."""
    for value in _params(item).values():
        named = getattr(value, "broker", value)
        first = named[0] if isinstance(named, tuple) and named else named
        name = re.split(r"[-\s]", first)[0] if isinstance(first, str) else None
        if name in BROKERS:
            return name
    return None


def _is_memory_fleet(params: dict[str, Any]) -> bool:
    place = params.get("place")
    return (getattr(place, "host", None), getattr(place, "broker", None)) == ("fleet", "memory")


def _params(item: pytest.Item) -> dict[str, Any]:
    callspec = getattr(item, "callspec", None)
    return {} if callspec is None else callspec.params


def _on_every_broker(item: pytest.Item) -> bool:
    path = item.path.relative_to(HERE).as_posix()
    return path.startswith(ON_EVERY_BROKER)
