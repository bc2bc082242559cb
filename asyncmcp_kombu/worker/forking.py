"""Forking: a lock that another thread holds while a pool process is forked is never released in that process.

A worker's main process has threads (it publishes, and keeps that a task failed), and it forks again whenever a
pool process was lost. Two kinds of locks would leave the new process waiting for ever at its first call:

- Celery's, Kombu's and botocore's cached properties each have one lock for all their objects, in the class. The value
  that was being made is made anew in the child, so its lock may be a new one, too.
- Libraries in C have locks that nobody can renew: SQLite's, while it opens a database. What calls them in the main
  process says so (`not_while_forking`), and a fork waits for its end.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

_FORK_WAITS = 2.0
"""Seconds; longer than any call takes while its database is there."""

_properties: list[Any] = []
_modules = 0
_gate, _inside, _forks = threading.Condition(), 0, 0
"""Guards how many calls are under way, and how many forks wait or happen."""


@contextmanager
def not_while_forking() -> Generator[None]:
    """This process is not forked while the block runs, unless that takes longer than two seconds."""
    global _inside  # noqa: PLW0603
    with _gate:
        _gate.wait_for(lambda: not _forks, _FORK_WAITS)
        _inside += 1
    try:
        yield
    finally:
        with _gate:
            _inside -= 1
            _gate.notify_all()


def _find_locks() -> None:
    """In the parent, which has time for it; again only after something was imported."""
    global _modules  # noqa: PLW0603
    if len(sys.modules) != _modules:
        _modules = len(sys.modules)
        attributes = (attribute for cls in _classes() for attribute in vars(cls).values())
        found = (one for one in attributes if isinstance(one, functools.cached_property))
        _properties[:] = [one for one in found if hasattr(one, "lock")]


def _before() -> None:
    global _forks  # noqa: PLW0603
    _find_locks()
    with _gate:
        _forks += 1
        _gate.wait_for(lambda: not _inside, _FORK_WAITS)


def _in_parent() -> None:
    global _forks  # noqa: PLW0603
    with _gate:
        _forks -= 1
        _gate.notify_all()


def _in_child() -> None:
    global _gate, _inside, _forks
    _gate, _inside, _forks = threading.Condition(), 0, 0
    for one in _properties:
        one.lock = threading.RLock()


def _classes() -> Iterator[type]:
    """All that exist. The garbage collector does not know those of a program that has called `gc.freeze`."""
    seen, left = set[type](), [object]
    while left:
        for cls in type.__subclasses__(left.pop()):
            if cls not in seen:
                seen.add(cls)
                left.append(cls)
                yield cls


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
