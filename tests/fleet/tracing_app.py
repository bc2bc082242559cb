"""Server, fleet and client under test for trace context.

`celery -A tests.fleet.tracing_app worker` is the fleet, `python -m tests.fleet.tracing_app` an instrumented client that
calls the tools it is given. Where SPANS is set, each process writes the spans that it ends into that directory.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from celery import Celery
from mcp import Client
from mcp.server.mcpserver import Context, MCPServer
from opentelemetry import baggage, context, trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from asyncmcp_kombu import Settings, kombu_client, mcp_task, serve_mcp

tracer = trace.get_tracer("tests")


def write_spans(directory: Path) -> None:
    """Every span that this process ends, as a line of JSON; forked children write into the same file."""
    file = (directory / f"{os.getpid()}.jsonl").open("a", buffering=1)
    exporter = ConsoleSpanExporter(out=file, formatter=lambda span: (span.to_json(indent=None) or "") + "\n")
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


if "SPANS" in os.environ:
    write_spans(Path(os.environ["SPANS"]))
    if os.environ.get("CELERY_SPANS"):
        CeleryInstrumentor().instrument()


@asynccontextmanager
async def lifespan(_: Any) -> AsyncIterator[None]:
    with tracer.start_as_current_span("lifespan"):
        yield


app = Celery("tracing")
server = MCPServer("tracing", lifespan=lifespan)


@server.tool()
async def own(ctx: Context) -> dict[str, Any]:
    """A tool of the server's own: what it was told in `_meta`."""
    with tracer.start_as_current_span("in own"):
        return {"meta": dict(ctx.request_context.meta or {}), "baggage": baggage.get_baggage("who")}


@mcp_task
def sync(ctx: Context) -> dict[str, Any]:
    """A sync tool: what it was told in `_meta`."""
    with tracer.start_as_current_span("in sync"):
        return {"meta": dict(ctx.request_context.meta or {}), "baggage": baggage.get_baggage("who")}


@mcp_task
async def asynchronous(ctx: Context) -> dict[str, Any]:
    """An async one."""
    with tracer.start_as_current_span("in asynchronous"):
        return {"meta": dict(ctx.request_context.meta or {}), "baggage": baggage.get_baggage("who")}


@mcp_task(queue=os.environ.get("ASYNCMCP_PREFIX", "") + "elsewhere")
def routed(ctx: Context) -> dict[str, Any]:
    """One with a queue of its own."""
    with tracer.start_as_current_span("in routed"):
        return {"meta": dict(ctx.request_context.meta or {}), "baggage": baggage.get_baggage("who")}


@mcp_task(autoretry_for=(ValueError,), max_retries=1, default_retry_delay=0, bind=True)
def retried(self: Any) -> int:
    """One that fails at first."""
    with tracer.start_as_current_span("in retried"):
        if not self.request.retries:
            raise ValueError("again")
        return self.request.retries


serve_mcp(app, server)


async def call(tools: list[str]) -> None:
    answers: dict[str, Any] = {}
    context.attach(baggage.set_baggage("who", "Ada"))
    with tracer.start_as_current_span("caller"):
        async with Client(kombu_client(settings=Settings(server="tracing")), read_timeout_seconds=30) as client:
            for tool in tools:
                answers[tool] = (await client.call_tool(tool, {})).structured_content
    sys.stdout.write(json.dumps(answers))


if __name__ == "__main__":
    anyio.run(call, sys.argv[1:])
