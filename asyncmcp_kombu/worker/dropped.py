"""Dropped: what a worker took from the request queue and did not serve, counted where operators look.

Mostly as the message comes. A call may also wait in the pool behind others: then the prefork pool asks its request
again, and elsewhere its task raises `NobodyWaits`. Both are counted in the main process.

Three places: the OpenTelemetry counter `asyncmcp.requests.dropped` with the attribute `reason`; Celery's event
`mcp-request-dropped` (with `-E`, on brokers that carry events); and `mcp.dropped.<reason>` in `celery inspect stats`.
"""

from __future__ import annotations

import logging
from typing import Any

from celery.exceptions import Ignore
from celery.worker.state import total_count
from opentelemetry import metrics

from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.server.cancellation import key_of
from asyncmcp_kombu.worker.call import call_id

logger = logging.getLogger(__name__)

EVENT = "mcp-request-dropped"
EXPIRED, CANCELLED = "expired", "cancelled"
"""Reasons besides those of `EnvelopeError`: nobody waits any more; its caller has taken it back."""

_counter = metrics.get_meter("asyncmcp_kombu").create_counter(
    "asyncmcp.requests.dropped", unit="{request}", description="Requests that were taken from the queue and not served."
)


class NobodyWaits(Ignore):
    """Raised in a call's task: its deadline passed before it started."""


def count_dropped(dispatcher: Any, reason: str, request: Envelope | None = None) -> None:
    """In the main process. `dispatcher` sends Celery's events, or is None; `request` is None for what is no request."""
    _counter.add(1, {"reason": reason})
    total_count[f"mcp.dropped.{reason}"] += 1
    details: dict[str, Any] = {}
    if request is not None:
        details = {"uuid": call_id(key_of(request)), "method": request.method, "name": request.name}
        logger.info("dropped %s %s: %s", request.method, request.name or "", reason)
    if dispatcher is not None and dispatcher.enabled:
        dispatcher.send(EVENT, reason=reason, **details)
