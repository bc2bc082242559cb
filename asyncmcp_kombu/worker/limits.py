"""Time limits that cannot be kept are refused at start-up, with the reason.

Celery keeps `time_limit` and `soft_time_limit` in the prefork pool only. On threads and solo we hold an async
tool to them by cancellation; nothing can stop a sync function there.
"""

from __future__ import annotations

from collections.abc import Mapping

from celery import Task

from asyncmcp_kombu.errors import ConfigurationError

_PREFORK = "celery.concurrency.prefork"
_kept_by_celery = True


def own_limit(task: Task) -> tuple[float, bool] | None:
    """The limit, in seconds, that we must hold an async tool to, and whether it is the soft one.

    None when there is none, or when Celery keeps it.
    """
    limits = [(task.soft_time_limit, True), (task.time_limit, False)]
    return None if _kept_by_celery else min(((s, soft) for s, soft in limits if s), default=None)


def check_time_limits(sync_tools: Mapping[str, Task], pool: str) -> None:
    """Called once per worker, before its pool starts (and forks).

    Args:
        pool: module of the worker's pool class, as `celery.concurrency.thread`.

    Raises:
        ConfigurationError: names the first sync tool with a time limit outside the prefork pool.
    """
    global _kept_by_celery  # noqa: PLW0603  a process has one pool
    _kept_by_celery = pool == _PREFORK
    if _kept_by_celery:
        return
    for name, task in sync_tools.items():
        limits = {key: getattr(task, key) for key in ("time_limit", "soft_time_limit") if getattr(task, key)}
        if limits:
            shown = ", ".join(f"{key}={value}" for key, value in limits.items())
            raise ConfigurationError(
                f"tool {name!r} has {shown}, which the pool {pool.rpartition('.')[2]!r} cannot keep for a sync "
                "function. Run the worker with the prefork pool (celery worker -P prefork), make the tool "
                "`async def`, or remove the limit"
            )
