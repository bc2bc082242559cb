"""Forking: a lock that another thread holds while a pool process is forked is never released in that process.

A worker's main process has threads (it publishes, and keeps that a task failed), and it forks again whenever a
pool process was lost. Celery's, Kombu's and botocore's cached properties each have one lock for all their objects,
in the class: a fork in the middle of one would leave the new process waiting for ever at its first call. The
value that was being made is made anew in the child, so its lock may be a new one, too.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Iterator
from typing import Any

_properties: list[Any] = []
_modules = 0


def find_locks() -> None:
    """Before a fork, in the parent, which has time for it; again only after something was imported."""
    global _modules  # noqa: PLW0603
    if len(sys.modules) != _modules:
        _modules = len(sys.modules)
        attributes = (attribute for cls in _classes() for attribute in vars(cls).values())
        found = (one for one in attributes if isinstance(one, functools.cached_property))
        _properties[:] = [one for one in found if hasattr(one, "lock")]


def renew_locks() -> None:
    """After a fork, in the child."""
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
