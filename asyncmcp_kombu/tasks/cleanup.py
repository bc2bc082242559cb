"""Cleanup: what is over is deleted from a SQL result backend; others (Redis, DynamoDB) expire it themselves.

Celery leaves that to `celery beat`, which a fleet need not run; and it only knows of results that are ready.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from celery import Celery, bootsteps
from kombu.utils.encoding import ensure_bytes

from asyncmcp_kombu.errors import ConfigurationError
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.tasks.modes import mode_of, ttl_of
from asyncmcp_kombu.tasks.store import OPEN
from asyncmcp_kombu.worker.forking import not_while_forking
from asyncmcp_kombu.worker.outcome_store import is_sql
from asyncmcp_kombu.worker.tool import McpTask

logger = logging.getLogger(__name__)

EVERY = 3_600.0
_AT_ONCE = 500


def check_expiry(app: Celery, tools: Mapping[str, McpTask], settings: Settings) -> None:
    """Raises:
    ConfigurationError: a task may be asked for longer than Celery keeps it.
    """
    expires: Any = app.conf.result_expires
    kept = expires.total_seconds() if isinstance(expires, timedelta) else expires
    for name, tool in tools.items():
        if mode_of(tool) != "never" and kept and ttl_of(tool, settings) > kept:
            raise ConfigurationError(
                f"tool {name!r} has a ttl of {ttl_of(tool, settings):g} s, but Celery keeps results for "
                f"{kept:g} s: set result_expires of the app to as long or longer, or a shorter ttl="
            )


class Cleanup(bootsteps.StartStopStep):
    """Cleans up now and then while the worker runs. Several workers may: it deletes what is over."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, c: Any, **kwargs: Any) -> None:
        super().__init__(c, **kwargs)
        self._entry: Any = None

    def start(self, c: Any) -> None:
        if is_sql(c.app.backend):
            first = random.uniform(10.0, 60.0)  # noqa: S311  workers that start together take turns
            self._entry = c.timer.call_after(first, self._begin, (c, c.app))

    def _begin(self, c: Any, app: Celery) -> None:
        threading.Thread(target=_clean_up_quietly, args=(app,), name="asyncmcp-cleanup", daemon=True).start()
        self._entry = c.timer.call_after(EVERY, self._begin, (c, app))

    def stop(self, c: Any) -> None:
        entry, self._entry = self._entry, None
        if entry is not None:
            entry.cancel()

    shutdown = stop


def _clean_up_quietly(app: Celery) -> None:
    try:
        with not_while_forking():
            clean_up(app)
    except Exception:
        logger.exception("the result backend could not be cleaned up; tried again in an hour")


def clean_up(app: Celery) -> None:
    """Delete what is over. `result_expires` after its end where something is final; else after its `expires_at`."""
    backend = app.backend
    backend.cleanup()
    now, last, rows = time.time(), 0, backend.task_cls
    while True:
        with backend.ResultSession() as session:
            found = session.query(rows.id, rows.result).filter(rows.status == OPEN, rows.id > last)
            some = found.order_by(rows.id).limit(_AT_ONCE).all()
            over = list(_over(backend, some, now))
            if over:
                session.query(rows).filter(rows.id.in_(over), rows.status == OPEN).delete(synchronize_session=False)
                session.commit()
        if len(some) < _AT_ONCE:
            return
        last = some[-1].id


def _over(backend: Any, rows: Iterable[Any], now: float) -> Iterable[int]:
    for row in rows:
        value = backend.decode(ensure_bytes(row.result)) if row.result else None
        if isinstance(value, dict) and value.get("expires_at", now) < now:
            yield row.id
