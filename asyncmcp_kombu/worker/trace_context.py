"""Trace context: the caller's span in the SDK, Celery's task span and the server's span are one line, parent to child.

The SDK's client puts its span into `params._meta` (`traceparent`, `tracestate`, `baggage`; W3C, SEP-414), and nobody on
the way changes that. OpenTelemetry's instrumentation of Celery looks for it in the headers of the task's message,
so a copy is put there. Without an SDK of OpenTelemetry installed nothing here has an effect.

Private name of mcp 2.3 used here: `mcp.server._otel.OpenTelemetryMiddleware`. tests/fleet/test_tracing.py fails when
it goes.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from mcp.server._otel import OpenTelemetryMiddleware
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel.server import Server
from opentelemetry import context, propagate, trace

from asyncmcp_kombu.envelope import Envelope

T = TypeVar("T")

_KEYS = ("traceparent", "tracestate", "baggage")
_LONGEST = 8_192
"""Characters of a baggage that W3C has everybody carry on; the broker's headers are no place for more."""


def trace_headers(request: Envelope) -> dict[str, str]:
    """The trace context in the request's `_meta`, as headers of a Celery message."""
    meta: Any = request.params.get("_meta")
    if not isinstance(meta, Mapping):
        return {}
    found = {key: meta.get(key) for key in _KEYS}
    return {key: value for key, value in found.items() if isinstance(value, str) and len(value) <= _LONGEST}


def in_callers_trace(request: Envelope, function: Callable[[], T]) -> T:
    """Call the function where the caller's span is the current one.

    It gets a `contextvars` context of its own: the instrumentation may leave the span of a publication active in
    the thread when the task is not of its own app.
    """

    def run() -> T:
        context.attach(propagate.extract(trace_headers(request)))
        return function()

    return contextvars.Context().run(run)


def flush_spans(seconds: float = 2.0) -> None:
    """Have the spans that wait for their batch exported, within that time: a pool child ends without `atexit`."""
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    if flush is not None:  # a provider of an SDK; that of 1.45 minds no time limit
        flushing = threading.Thread(target=flush, name="flush-spans", daemon=True)
        flushing.start()
        flushing.join(seconds)


def join_task_span(server: Server[Any]) -> None:
    """Make the server's span a child of Celery's task span, where there is one."""
    server.middleware[:] = [
        _UnderTaskSpan(one) if isinstance(one, OpenTelemetryMiddleware) else one for one in server.middleware
    ]


class _UnderTaskSpan:
    """The SDK's OpenTelemetry middleware, which would take the caller's span from `_meta` for its parent.

    That makes the server's span a sibling of Celery's. So where the current span (Celery's, that is: it comes with
    the call into the event loop) is of the caller's trace, the middleware is shown no `_meta`, and falls back to the
    current span. What comes after it sees the `_meta` that arrived.
    """

    def __init__(self, traced: OpenTelemetryMiddleware) -> None:
        self._traced = traced

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if not _in_trace_of(ctx.meta):
            return await self._traced(ctx, call_next)

        async def rest(shown: ServerRequestContext[Any, Any]) -> HandlerResult:
            return await call_next(replace(shown, meta=ctx.meta))

        return await self._traced(replace(ctx, meta=None), rest)


def _in_trace_of(meta: Any) -> bool:
    """Whether the current span belongs to the trace that `_meta` names (`version-trace-parent-flags`)."""
    here = trace.get_current_span().get_span_context()
    parent = meta.get("traceparent") if isinstance(meta, Mapping) else None
    return here.is_valid and isinstance(parent, str) and parent[3:35] == trace.format_trace_id(here.trace_id)
