"""The parts of the benchmark. Each starts what it needs, and returns its results by who and what was measured."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from asyncmcp_kombu.local import LocalEngine
from asyncmcp_kombu.local.errors import LocalEngineError
from benchmarks.peers.venvs import AbsentError, python_of
from benchmarks.processes import StandIn, Started, free_port, ours, redis_server, run_loads, stand_in, started, worker

Results = dict[str, Any]
AMQP_URL = "amqp://guest:guest@127.0.0.1:5672//"


def _named(who: str, results: list[dict[str, Any]]) -> Results:
    return {f"{who} {one['load'].partition('x')[0]}": one for one in results}


def _peer(who: str, run: Callable[[], Results]) -> Results:
    try:
        return run()
    except (AbsentError, FileNotFoundError, LocalEngineError) as error:
        return {who: {"absent": str(error)}}


def _floor(port: int, loads: list[str], counting: StandIn | None) -> Results:
    with started([sys.executable, "-m", "benchmarks.floor", "server", str(port)]) as server:
        server.wait_for("serving")
        argv = [sys.executable, "-m", "benchmarks.floor", "client", str(port)]
        return _named("boto3", run_loads(argv, loads, servers={"worker": server}, counting=counting))


def _asyncmcp(port: int, loads: list[str], counting: StandIn | None) -> Results:
    python = python_of("asyncmcp")
    with started([python, "-m", "benchmarks.peers.asyncmcp_peer", "server", str(port)]) as server:
        server.wait_for("serving")
        argv = [python, "-m", "benchmarks.peers.asyncmcp_peer", "asyncmcp", str(port)]
        return _named("asyncmcp", run_loads(argv, loads, servers={"worker": server}, counting=counting))


def _ours(
    url: str,
    loads: list[str],
    counting: StandIn | None = None,
    *,
    tool: str = "echo",
    who: str = "ours",
    **options: Any,
) -> Results:
    with worker(url, **options) as server:
        env = {"ASYNCMCP_PREFIX": options.get("env", {}).get("ASYNCMCP_PREFIX", "asyncmcp-")}
        argv = ours(url, tool)
        return _named(who, run_loads(argv, loads, servers={"worker": server}, counting=counting, env=env))


def sqs10ms() -> Results:
    """The stand-in with 10 ms per request: ours on threads, the floor, asyncmcp."""
    with stand_in(10) as sqs:
        return {
            **_floor(sqs.port, ["1x100", "64x4000"], sqs),
            **_ours(sqs.broker_url, ["1x100", "64x3000"], sqs),
            **_ours(sqs.broker_url, ["1x100", "64x3000"], sqs, tool="echo_async", who="ours async"),
            **_peer("asyncmcp", lambda: _asyncmcp(sqs.port, ["1x40", "64x200"], sqs)),
        }


def prefork() -> Results:
    """The same with the prefork pool, 8 children."""
    with stand_in(10) as sqs:
        return _ours(sqs.broker_url, ["64x2000"], sqs, pool="prefork", concurrency=8, who="ours prefork")


def fauxqs() -> Results:
    """A real local engine."""

    def run() -> Results:
        with LocalEngine("fauxqs", port=0) as engine:
            return {
                **_floor(engine.port, ["1x200", "64x3000"], None),
                **_ours(engine.broker_url, ["1x200", "64x3000"]),
                **_peer("asyncmcp", lambda: _asyncmcp(engine.port, ["1x100", "64x400"], None)),
            }

    return _peer("fauxqs", run)


def redis() -> Results:
    """Ours on Redis: plain calls."""

    def run() -> Results:
        with redis_server() as (_, url):
            return _ours(url, ["1x200", "64x2000"])

    return _peer("redis", run)


def rabbitmq() -> Results:
    """Ours on RabbitMQ, which must be running on its usual port."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 5672)):
            return {"rabbitmq": {"absent": "nothing listens on 127.0.0.1:5672"}}
    prefix = f"bench{secrets.token_hex(3)}-"
    try:
        return _ours(AMQP_URL, ["1x200", "64x2000"], env={"ASYNCMCP_PREFIX": prefix})
    finally:
        _delete_amqp(prefix)


def _delete_amqp(prefix: str) -> None:
    from kombu import Connection

    with Connection(AMQP_URL) as connection, connection.channel() as channel:
        for kind in ("requests", "jobs", "dead"):
            channel.queue_delete(f"{prefix}bench-{kind}")
        for kind in ("events", "control"):
            channel.exchange_delete(f"{prefix}bench-{kind}")


def http() -> Results:
    """The SDK over Streamable HTTP: no queue at all."""
    port = free_port()
    with started([sys.executable, "-m", "benchmarks.peers.http_server", str(port)]) as server:
        server.wait_for_port(port)
        argv = [sys.executable, "-m", "benchmarks.caller", "http", f"http://127.0.0.1:{port}/mcp"]
        return _named("SDK over HTTP", run_loads(argv, ["1x200", "64x1500"], servers={"worker": server}))


def tasks() -> Results:
    """Task calls on Redis: ours, and FastMCP's, which also makes plain calls."""

    def run() -> Results:
        with redis_server() as (_, url):
            env = {"BENCH_RESULT_BACKEND": url}
            return {
                **_ours(url, ["1x100", "64x1500"], tool="echo_task", who="ours task", env=env),
                **_ours(url, ["64x1500"], tool="echo_task_async", who="ours async task", env=env),
                **_peer("FastMCP", lambda: _fastmcp(url)),
            }

    return _peer("redis", run)


def _fastmcp(redis_url: str) -> Results:
    python, port = python_of("fastmcp"), free_port()
    with started([python, "-m", "benchmarks.peers.fastmcp_peer", "server", str(port), redis_url]) as server:
        server.wait_for_port(port)
        url, results = f"http://127.0.0.1:{port}/mcp", Results()
        for who, tool, loads in (("FastMCP plain", "echo", ["64x500"]), ("FastMCP task", "echo_task", ["64x500"])):
            argv = [python, "-m", "benchmarks.peers.fastmcp_peer", "--tool", tool, "fastmcp", url]
            results |= _named(who, run_loads(argv, loads, servers={"worker": server}))
        return results


def many() -> Results:
    """256 and 1,000 calls in flight: does any fail?"""
    with stand_in(10) as sqs:
        return _ours(sqs.broker_url, ["256x1536", "1000x3000"], sqs)


def naps() -> Results:
    """500 calls at once of an async tool that sleeps for a second, on one process."""
    with stand_in(10) as sqs, worker(sqs.broker_url, concurrency=500) as server:
        argv = ours(sqs.broker_url, "nap")
        return _named("ours", run_loads(argv, ["500x500"], servers={"worker": server}, counting=sqs))


def idle() -> Results:
    """1,000 idle sessions in one process; and the API requests of an idle client, for a minute."""
    with stand_in(10) as sqs:
        with worker(sqs.broker_url) as server:
            argv = [sys.executable, "-m", "benchmarks.idle", sqs.broker_url]
            with started([*argv, "1000"], stdin=subprocess.PIPE) as sessions:
                many_idle = _line(sessions)
            with started([*argv, "1"], stdin=subprocess.PIPE) as one:
                _line(one)
                server.stop()
                time.sleep(25)  # the polls that the worker left behind
                sqs.reset()
                time.sleep(60)
                requests = sqs.counts()
        return {"ours sessions": many_idle, "ours idle": {"requests_per_hour": sum(requests.values()) * 60}}


def _line(process: Started) -> dict[str, Any]:
    assert process.process.stdout is not None
    line = process.process.stdout.readline()
    if not line:
        raise RuntimeError(process.log[-3000:])
    return json.loads(line)


def backlog(count: int = 10_000) -> Results:
    """Requests that wait before there is a worker, and how fast it drains them (from 90 % to 10 %)."""
    with stand_in(10) as sqs:
        argv = ours(sqs.broker_url, "echo", "--cold", "--timeout", "900")
        with worker(sqs.broker_url) as first, started([*argv, f"{count}x{count}"], stdin=subprocess.PIPE) as caller:
            assert caller.process.stdin is not None
            assert caller.process.stdout is not None
            caller.process.stdout.readline()
            first.stop()
            caller.process.stdin.write("\n")
            caller.process.stdin.flush()
            while sqs.waiting() < count:
                time.sleep(0.2)
            with worker(sqs.broker_url):
                marks = [_when(sqs, int(count * part)) for part in (0.9, 0.1)]
                result = _line(caller)
        return {"ours": {**result, "per_second": 0.8 * count / (marks[1] - marks[0])}}


def _when(sqs: StandIn, left: int) -> float:
    while sqs.waiting() > left:
        time.sleep(0.05)
    return time.monotonic()


PARTS: dict[str, Callable[[], Results]] = {
    part.__name__: part for part in (sqs10ms, prefork, fauxqs, redis, rabbitmq, http, tasks, many, naps, idle, backlog)
}
