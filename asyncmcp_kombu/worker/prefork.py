"""Prefork: what the pool's main process must know of its children, soon and before it lets go of the queues.

Celery 5.7 drops every job that no child has said to have begun, as its message will be delivered again. A child that
was handed a job a moment ago may already run it: its message would be neither acknowledged nor given back, and as
nobody reads what the child says, it waits 30 s for that before it ends (billiard's `_ensure_messages_consumed`).
"""

from __future__ import annotations

import contextlib
import inspect
import select
import time
from typing import Any

_MAINTENANCE, _WITHIN = 1.0, 1.0
"""Seconds."""


def look_after_children(pool: Any, hub: Any) -> None:
    """Every second: Celery does every five, and a caller waits for a dead child.

    Private name used: `TaskPool._pool`, whose `maintain_pool` notices lost jobs (Celery 5.7, billiard 4.3).
    tests/fleet/test_no_silence.py takes long when it goes.
    """
    maintain = getattr(getattr(pool, "_pool", None), "maintain_pool", None)
    if maintain is not None:
        hub.call_repeatedly(_MAINTENANCE, maintain)


def hear_what_has_begun(pool: Any, hub: Any) -> None:
    """Read what the children say until each job that was written to one is accepted; for a second at most.

    Private names used, of Celery 5.7's `AsynPool` and billiard 4.3's `ApplyResult`: `_cache`, `_fileno_to_outq`,
    `_active_writers`, `_write_to`, `_accepted`. tests/fleet/test_celery_holes.py fails when one goes.
    """
    children: Any = getattr(pool, "_pool", None)
    if hub is None or not hasattr(children, "_fileno_to_outq"):
        return
    deadline = time.monotonic() + _WITHIN
    while any(job._write_to is not None and not job._accepted for job in children._cache.values()):
        _go_on_writing(children)
        left = deadline - time.monotonic()
        if left <= 0:
            return
        readable, _, _ = select.select([fd for fd in children._fileno_to_outq if fd in hub.readers], [], [], left)
        for fd in readable:
            _read(hub, fd)


def _go_on_writing(children: Any) -> None:
    for writer in tuple(children._active_writers):
        with contextlib.suppress(StopIteration, OSError, EOFError):
            next(writer)


def _read(hub: Any, fd: int) -> None:
    """What the event loop would do: it holds a generator while it has read a part of a message."""
    callback, arguments = hub.readers[fd]
    with contextlib.suppress(StopIteration, OSError, EOFError):
        if inspect.isgenerator(callback):
            next(callback)
        else:
            callback(*arguments)
