"""Time limits that cannot be kept are refused at start-up, with the reason.

Celery keeps `time_limit` and `soft_time_limit` in the prefork pool only. On threads and solo we hold an async
tool to them by cancellation; nothing can stop a sync function there.
"""

from __future__ import annotations

from collections.abc import Mapping

from asyncmcp_kombu.errors import ConfigurationError
from asyncmcp_kombu.worker.tool import McpTask


def check_time_limits(tools: Mapping[str, McpTask], pool: str) -> None:
    """Args: pool: module of the worker's pool class, as `celery.concurrency.thread`.

    Raises:
        ConfigurationError: names the first sync tool with a time limit outside the prefork pool.
    """
    if pool == "celery.concurrency.prefork":
        return
    for name, task in tools.items():
        limits = {key: getattr(task, key) for key in ("time_limit", "soft_time_limit") if getattr(task, key)}
        if limits and task.mcp_function is None:
            shown = ", ".join(f"{key}={value}" for key, value in limits.items())
            raise ConfigurationError(
                f"tool {name!r} has {shown}, which the pool {pool.rpartition('.')[2]!r} cannot keep for a sync "
                "function. Run the worker with the prefork pool (celery worker -P prefork), make the tool "
                "`async def`, or remove the limit"
            )
