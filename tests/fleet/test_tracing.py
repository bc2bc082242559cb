"""Trace context: it arrives as it was sent, and joins the spans of caller, queue, Celery task and server.

The spans of real processes are compared: a client, a worker, its pool's children.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.server._otel import OpenTelemetryMiddleware
from mcp.server.mcpserver import Context, MCPServer

from asyncmcp_kombu import Settings, kombu_client, serve
from asyncmcp_kombu.envelope import compose
from asyncmcp_kombu.server.lowlevel import lowlevel_of
from asyncmcp_kombu.worker.trace_context import join_task_span, trace_headers
from tests import services
from tests.fleet.native import NativeProcess, worker_process

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
APP = "tests.fleet.tracing_app"
TRACE = {
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "vendor=t61rcWkgMzE,congo=ucfJifl5GOE",
    "baggage": "who=Ada%20L,empty=,key=1;property",
}
ODD = {"traceparent": "no such thing", "tracestate": "", "baggage": "ü \\u0000 = ;"}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Traced:
    """A fleet of one worker, and where its spans and those of its clients are written."""

    settings: Settings
    spans_in: Path | None
    celery_spans: bool
    pool: str
    worker: NativeProcess | None = None

    @property
    def env(self) -> dict[str, str]:
        env = {
            "ASYNCMCP_BROKER_URL": self.settings.broker_url.get_secret_value(),
            "ASYNCMCP_PREFIX": self.settings.prefix,
        }
        if self.spans_in is not None:
            env |= {"SPANS": str(self.spans_in)}
        if self.celery_spans:
            env |= {"CELERY_SPANS": "1"}
        return env

    def start(self) -> None:
        topology = f"{self.settings.prefix}tracing"
        self.worker = worker_process(
            APP,
            self.env,
            name=self.settings.prefix,
            pool=self.pool,
            concurrency=2,
            Q=f"{topology}-requests,{topology}-jobs,{self.settings.prefix}elsewhere",
        )
        self.worker.ready()

    def call(self, *tools: str) -> dict[str, Any]:
        """Call the tools from an instrumented client, in a process of its own."""
        done = subprocess.run(
            [sys.executable, "-m", APP, *tools],
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def spans(self) -> list[Span]:
        """All spans; the worker is ended for that."""
        assert self.worker is not None and self.spans_in is not None
        self.worker.terminate()
        lines = [line for file in self.spans_in.glob("*.jsonl") for line in file.read_text().splitlines()]
        return [Span.of(json.loads(line)) for line in lines]


@dataclass(frozen=True)
class Span:
    name: str
    kind: str
    id: str
    trace: str
    parent: str | None

    @classmethod
    def of(cls, written: dict[str, Any]) -> Span:
        context = written["context"]
        return cls(
            written["name"],
            written["kind"].removeprefix("SpanKind."),
            context["span_id"],
            context["trace_id"],
            written["parent_id"],
        )


def above(spans: list[Span], name: str, kind: str) -> list[tuple[str, str]]:
    """The span and its parents, up to the root, as (name, kind); fails when it is not there just once."""
    (span,) = [one for one in spans if (one.name, one.kind) == (name, kind)]
    by_id = {one.id: one for one in spans}
    line = [span]
    while line[-1].parent is not None:
        line.append(by_id[line[-1].parent])
    assert {one.trace for one in line} == {span.trace}
    return [(one.name, one.kind) for one in line]


@pytest.fixture
def traced(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Traced]:
    """A fleet on Redis; the parameter: (pool, whether Celery is instrumented), or None: no spans at all."""
    pool, celery_spans = request.param or ("threads", False)
    settings = Settings(broker_url=services.redis_url(), prefix=services.new_prefix(), server="tracing")
    fleet = Traced(settings, tmp_path if request.param else None, celery_spans, pool)
    try:
        fleet.start()
        yield fleet
    finally:
        if fleet.worker is not None:
            fleet.worker.teardown()
        services.cleanup_queues(services.REDIS_URL, settings.prefix)


CALLER = ("caller", "INTERNAL")


@pytest.mark.parametrize(
    "traced", [("prefork", True), pytest.param(("threads", True), marks=pytest.mark.exhaustive)], indirect=True, ids=str
)
def test_client_celery_task_and_server_are_one_line_of_spans(traced: Traced) -> None:
    answers = traced.call("own", "sync", "asynchronous", "routed", "retried")
    spans = traced.spans()
    retried = answers.pop("retried")
    assert retried == {"result": 1}
    for tool, answer in answers.items():
        client = (f"MCP send tools/call {tool}", "CLIENT")
        task = (f"run/{'mcp.request' if tool == 'own' else tool}", "CONSUMER")
        queued = [(f"apply_async/{tool}", "PRODUCER")] if tool == "routed" else []
        server = (f"tools/call {tool}", "SERVER")
        line = [server, task, *queued, client, CALLER]
        assert above(spans, *server) == line
        inner = (f"in {tool}", "INTERNAL")
        assert above(spans, *inner) == [inner, *line]
        # What the tool sees is still what the client wrote.
        (sent,) = [one for one in spans if (one.name, one.kind) == client]
        assert answer["meta"]["traceparent"].split("-")[1:3] == [sent.trace[2:], sent.id[2:]]
        assert (answer["meta"]["baggage"], answer["baggage"]) == ("who=Ada", "Ada")
    (call,) = [one for one in spans if one.name == "MCP send tools/call retried"]
    runs = [one for one in spans if one.name == "run/retried"]
    assert len(runs) == 2
    assert {one.trace for one in runs} == {call.trace}
    assert {one.parent for one in spans if one.name == "lifespan"} == {None}  # it belongs to nobody's call


@pytest.mark.parametrize("traced", [("threads", False)], indirect=True, ids=str)
def test_without_celerys_instrumentation_the_server_continues_the_client(traced: Traced) -> None:
    answers = traced.call("sync", "routed")
    spans = traced.spans()
    for tool in answers:
        server, client = (f"tools/call {tool}", "SERVER"), (f"MCP send tools/call {tool}", "CLIENT")
        assert above(spans, *server) == [server, client, CALLER]
        assert answers[tool]["meta"]["baggage"] == "who=Ada"


async def _told(client: Client, tool: str, meta: dict[str, Any]) -> dict[str, Any]:
    result = await client.call_tool(tool, {}, meta=meta)
    return (result.structured_content or {})["meta"]


@pytest.mark.parametrize("traced", [None], indirect=True, ids=str)
async def test_the_three_keys_arrive_on_a_fleet_as_they_were_sent(traced: Traced) -> None:
    async with Client(kombu_client(settings=traced.settings), read_timeout_seconds=20) as client:
        for tool in ("own", "sync", "asynchronous", "routed"):
            for sent in (TRACE, ODD):
                told = await _told(client, tool, {**sent, "com.example/more": {"kept": [1, None]}})
                assert {key: told[key] for key in sent} == sent
                assert told["com.example/more"] == {"kept": [1, None]}


@asynccontextmanager
async def served(server: MCPServer, settings: Settings) -> AsyncGenerator[None]:
    async with anyio.create_task_group() as tasks:

        async def run(*, task_status: Any) -> None:
            await serve(server, settings=settings, task_status=task_status)

        await tasks.start(run)
        yield
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("broker", ["memory", "redis"])
async def test_the_three_keys_arrive_in_one_process_as_they_were_sent(broker: str, prefix: str) -> None:
    url = services.MEMORY_URL if broker == "memory" else services.redis_url()
    settings = Settings(broker_url=url, prefix=prefix, server="tracing")
    server = MCPServer("tracing")

    @server.tool()
    async def own(ctx: Context) -> dict[str, Any]:
        return {"meta": dict(ctx.request_context.meta or {})}

    try:
        async with served(server, settings):
            async with Client(kombu_client(settings=settings), read_timeout_seconds=20) as client:
                for sent in (TRACE, ODD):
                    told = await _told(client, "own", sent)
                    assert {key: told[key] for key in sent} == sent
    finally:
        services.cleanup_queues(url, prefix)


@pytest.mark.parametrize("pool", ["prefork", pytest.param("threads", marks=pytest.mark.exhaustive)])
async def test_the_app_of_the_tracing_page(pool: str, tmp_path: Path, prefix: str) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/tracing.md").read_text(), re.S)
    (tmp_path / "traced.py").write_text(example)
    settings = Settings(broker_url=services.redis_url(), prefix=prefix, server="traced")
    env = {
        "ASYNCMCP_BROKER_URL": services.REDIS_URL,
        "ASYNCMCP_PREFIX": prefix,
        "PYTHONPATH": str(tmp_path),
        "OTEL_BSP_SCHEDULE_DELAY": "600000",  # what is not written when the process ends is lost
    }
    worker = worker_process("traced", env, name=prefix, pool=pool, concurrency=1)
    try:
        worker.ready()
        async with Client(kombu_client(settings=settings), read_timeout_seconds=20) as client:
            result = await client.call_tool("price", {"article": "pen"}, meta=TRACE)
            assert result.structured_content == {"result": 4.5}
        await anyio.to_thread.run_sync(worker.terminate)
        for name in ("run/price", "tools/call price", "look it up"):
            assert f'"name": "{name}"' in worker.logs()
        assert worker.logs().count(f'"trace_id": "0x{TRACE["traceparent"].split("-")[1]}"') >= 3
    finally:
        worker.teardown()
        services.cleanup_queues(services.REDIS_URL, prefix)


def test_what_is_no_trace_context_goes_into_no_header() -> None:
    def headers(meta: Any) -> dict[str, str]:
        return trace_headers(compose({"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"_meta": meta}}))

    assert headers({**TRACE, "progressToken": 1, "task": "evil"}) == TRACE
    assert headers({"traceparent": 1, "tracestate": ["a"], "baggage": "x" * 8_193}) == {}
    assert headers(None) == headers([1]) == headers("traceparent") == {}


def test_the_sdk_still_traces_with_the_middleware_that_is_wrapped_here() -> None:
    lowlevel = lowlevel_of(MCPServer("traced"))
    assert any(isinstance(one, OpenTelemetryMiddleware) for one in lowlevel.middleware)
    for _ in range(2):  # once per process, and a process may be started twice
        join_task_span(lowlevel)
        assert [type(one).__name__ for one in lowlevel.middleware].count("_UnderTaskSpan") == 1
    assert not any(isinstance(one, OpenTelemetryMiddleware) for one in lowlevel.middleware)
