"""Time limits that cannot be kept are refused at start-up, with the reason.

Celery keeps `time_limit` and `soft_time_limit` in the prefork pool only. On threads and solo we hold an async
tool to them by cancellation; nothing can stop a sync function there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from celery import Task

from asyncmcp_kombu.errors import ConfigurationError

_PREFORK = "celery.concurrency.prefork"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a whole worker (`task_time_limit`, `--time-limit`), in seconds, and who keeps limits."""

    kept_by_celery: bool = True
    soft: float | None = None
    hard: float | None = None

    def of(self, task: Task) -> tuple[float | None, float | None]:
        """The soft and the hard limit of a task: its own, else the worker's."""
        return task.soft_time_limit or self.soft, task.time_limit or self.hard


_limits = Limits()


def own_limit(task: Task) -> tuple[float, bool] | None:
    """The limit, in seconds, that we must hold an async tool to, and whether it is the soft one.

    None when there is none, or when Celery keeps it.
    """
    if _limits.kept_by_celery:
        return None
    soft, hard = _limits.of(task)
    return min(
        ((seconds, name == "soft") for name, seconds in (("soft", soft), ("hard", hard)) if seconds), default=None
    )


def has_soft_limit_of_celery(task: Task) -> bool:
    """Whether Celery raises SoftTimeLimitExceeded in the thread of the task when its time is up."""
    return _limits.kept_by_celery and bool(_limits.of(task)[0])


def check_terminate(tools: Mapping[str, Any], pool: str) -> None:
    """Called once per worker, before its pool starts.

    Raises:
        ConfigurationError: names the first tool that may be ended where no process can be ended.
    """
    for name, task in tools.items():
        if task.mcp_tool.terminate and pool != _PREFORK:
            raise ConfigurationError(
                f"tool {name!r} has terminate=True, which the pool {pool.rpartition('.')[2]!r} cannot keep: nothing "
                "ends a thread. Run the worker with the prefork pool (celery worker -P prefork), or remove the option"
            )


def check_time_limits(
    sync_tools: Mapping[str, Task], pool: str, *, soft: float | None = None, hard: float | None = None
) -> None:
    """Called once per worker, before its pool starts (and forks).

    Args:
        pool: module of the worker's pool class, as `celery.concurrency.thread`.
        soft, hard: the worker's own limits in seconds.

    Raises:
        ConfigurationError: names the first sync tool with a time limit outside the prefork pool.
    """
    global _limits  # noqa: PLW0603  a process has one pool
    _limits = Limits(pool == _PREFORK, soft, hard)
    if _limits.kept_by_celery:
        return
    for name, task in sync_tools.items():
        limits = dict(zip(("soft_time_limit", "time_limit"), _limits.of(task), strict=True))
        shown = ", ".join(f"{key}={value}" for key, value in limits.items() if value)
        if shown:
            raise ConfigurationError(
                f"tool {name!r} has {shown}, which the pool {pool.rpartition('.')[2]!r} cannot keep for a sync "
                "function. Run the worker with the prefork pool (celery worker -P prefork), make the tool "
                "`async def`, or remove the limit"
            )
