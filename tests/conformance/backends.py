"""Three ways to serve the one server over HTTP: by the SDK alone, and behind a queue with our bridge in front."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asyncmcp_kombu.local import LocalEngine
from asyncmcp_kombu.local.endpoint import claim_port
from tests.conformance.processes import Process
from tests.conformance.server import NAME

_HOST = "127.0.0.1"
_PATH = "/mcp"
"""Where the SDK's server and the bridge serve MCP."""


@dataclass(frozen=True, slots=True)
class Places:
    """What a backend needs to know.

    Attributes:
        logs: the directory for what its processes write.
        workers: how many Celery workers make a fleet.
    """

    logs: Path
    workers: int = 2


Backend = Callable[[Places], AbstractContextManager[str]]
"""Serves while its context is entered, which gives the URL. Raises CannotRun, with a log, when it does not come up."""


@contextmanager
def sdk(places: Places) -> Generator[str]:
    """The reference: the SDK's own HTTP server."""
    port = claim_port(_HOST, 0)
    with Process(_module("tests.conformance.sdk_http", str(port)), places.logs / "sdk.log") as server:
        server.wait_for_port(port)
        yield f"http://{_HOST}:{port}{_PATH}"


@contextmanager
def single(places: Places) -> Generator[str]:
    """One process that runs `serve`, the embedded SQS, the bridge."""
    with LocalEngine(port=0) as sqs:
        env = _environment(sqs, places)
        with Process(_module("tests.conformance.single"), places.logs / "single.log", env) as server:
            server.wait_for_text("ready")
            with bridge(places.logs / "bridge.log", env) as url:
                yield url


@contextmanager
def fleet(places: Places) -> Generator[str]:
    """Celery workers with `serve_mcp`, the embedded SQS, the bridge."""
    with workers(places) as env, bridge(places.logs / "bridge.log", env) as url:
        yield url


BACKENDS: Final[Mapping[str, Backend]] = {"sdk": sdk, "single": single, "fleet": fleet}


@contextmanager
def workers(places: Places) -> Generator[dict[str, str]]:
    """The fleet without a bridge: gives the environment that a bridge to it needs."""
    with LocalEngine(port=0) as sqs, ExitStack() as stack:
        env = _environment(sqs, places)
        started = [
            stack.enter_context(Process(_worker(number), places.logs / f"worker{number}.log", env))
            for number in range(1, places.workers + 1)
        ]
        for worker in started:
            worker.wait_for_text("ready.")
        try:
            yield env
        finally:
            for worker in started:  # all at once: a warm shutdown takes two seconds
                worker.terminate()


@contextmanager
def bridge(log: Path, env: Mapping[str, str]) -> Generator[str]:
    """`asyncmcp-kombu bridge --http` in front of what serves in this environment; gives its URL."""
    port = claim_port(_HOST, 0)
    url = env["ASYNCMCP_BROKER_URL"]
    command = _module("asyncmcp_kombu.cli.main", "bridge", "--http", str(port), "--server", NAME, "--broker-url", url)
    with Process(command, log, env) as started:
        started.wait_for_port(port)
        yield f"http://{_HOST}:{port}{_PATH}"


def _environment(sqs: LocalEngine, places: Places) -> dict[str, str]:
    """The same for workers and bridge: where the broker and tasks are, names and a key that only this run has."""
    return {
        "ASYNCMCP_BROKER_URL": sqs.broker_url,
        "ASYNCMCP_PREFIX": f"conformance-{secrets.token_hex(4)}-",
        "ASYNCMCP_SECRET_KEY": secrets.token_hex(32),
        "XDG_STATE_HOME": str(places.logs / "state"),
    }


def _worker(number: int) -> list[str]:
    flags = f"-A tests.conformance.fleet_app worker -l INFO -c 2 -n conformance{number}@%h"
    return _module("celery", *flags.split())


def _module(name: str, *args: str) -> list[str]:
    return [sys.executable, "-m", name, *args]
