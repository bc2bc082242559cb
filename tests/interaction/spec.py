"""Which sentence a test stands for, and on which places it runs when that is not all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeVar

import pytest

Era = Literal["2026", "handshake"]
"""MCP 2026-07-28, where every request says all about itself; and 2025-11-25 and before, opened by `initialize`."""
Broker = Literal["memory", "sqs", "rabbitmq", "redis"]
Host = Literal["single", "fleet", "sdk"]
"""`serve()`, Celery workers with `serve_mcp`, and the SDK's own in-memory transport: what ours are measured by."""

ERAS: Final[tuple[Era, ...]] = ("2026", "handshake")
BROKERS: Final[tuple[Broker, ...]] = ("memory", "sqs", "rabbitmq", "redis")
HOSTS: Final[tuple[Host, ...]] = ("single", "fleet", "sdk")

BASE: Final = "https://modelcontextprotocol.io/specification/"
OURS: Final = ("DESIGN", "docs/", "sdk")
"""What no specification says: a promise of this package, or a choice of the SDK that authors of servers rely on."""

T = TypeVar("T", bound=Callable[..., object])


def requirement(where: str, sentence: str, *, era: Era | None = None) -> Callable[[T], T]:
    """Link a test to what it proves; several times for several sentences.

    Args:
        where: a page below `BASE` and its section (`2026-07-28/server/tools#calling-tools`), or one of `OURS`.
        sentence: the requirement, in the specification's words or shorter.
        era: the test runs in this era only.
    """
    return pytest.mark.requirement(where, sentence, era=era)


def runs_on(
    why: str,
    *,
    brokers: Sequence[Broker] = BROKERS,
    hosts: Sequence[Host] = HOSTS,
    eras: Sequence[Era] = ERAS,
    fleets: Sequence[Broker] = BROKERS,
) -> Callable[[T], T]:
    """Run a test on fewer places, and say why.

    Args:
        fleets: the brokers on which it runs on a fleet.
    """
    return pytest.mark.runs_on(why, brokers=brokers, hosts=hosts, eras=eras, fleets=fleets)
