"""Once: the calls of an at-most-once tool. None is started twice, and each is answered, also when its worker died.

Called natively, such a task is acknowledged before it starts, as Celery does by default. Its MCP calls are kept until
they are answered, as all others are: when the worker dies, the broker delivers the call to another worker, which does
not run it and tells the caller that its outcome is unknown. That nothing was started, and it may run after all (a
worker gave back what waited), is known from a note in the result backend, made before every start; so only where all
workers share the backend.
"""

from __future__ import annotations

from typing import Any

from mcp_types.jsonrpc import ErrorData

from asyncmcp_kombu.errors import OutcomeUnknown, StartNotNoted
from asyncmcp_kombu.worker.outcomes import Outcomes


def is_once(task: Any) -> bool:
    """Whether this is the task of an at-most-once tool."""
    return getattr(task.mcp_tool, "delivery", None) == "at-most-once"


def reason_not_to_start(outcomes: Outcomes, key: str | None, *, redelivered: bool) -> ErrorData | None:
    """What to answer a call instead of running its tool; None when it may start, which is then noted. Blocks.

    Args:
        key: under which the call's outcome is kept; None for a call that has no such name.
        redelivered: the broker has delivered the call before, so a worker may have started it.
    """
    note = None if key is None else f"{key}-started"
    if redelivered and (note is None or not outcomes.lacks(note)):
        return OutcomeUnknown(
            "the tool is at-most-once, and a worker that had the call before died or gave it back; "
            "it is not run again, so whether it had its effect is unknown"
        ).error_data()
    if note is not None and not outcomes.note(note):
        return StartNotNoted(
            "the tool is at-most-once, and the result backend, where its start is to be noted, is away: "
            "it was not started; call it again"
        ).error_data()
    return None
