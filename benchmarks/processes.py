"""The processes of a measurement, each in a group of its own, ended by their ids, and the CPU time they take."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
_START, _STOP = 60.0, 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Started:
    """A process; its output is in a temporary file."""

    def __init__(self, argv: Sequence[str], env: dict[str, str], *, stdin: Any = subprocess.DEVNULL) -> None:
        self._log = tempfile.NamedTemporaryFile(suffix=".log")  # noqa: SIM115
        self.process = subprocess.Popen(
            argv,
            env={**os.environ, **env},
            cwd=ROOT,
            stdin=stdin,
            stdout=subprocess.PIPE if stdin is subprocess.PIPE else self._log,
            stderr=self._log,
            start_new_session=True,
            text=True,
        )

    @property
    def log(self) -> str:
        return Path(self._log.name).read_text(errors="replace")

    def cpu(self) -> float:
        """Seconds of CPU time of the process and its children, so far."""
        total = 0.0
        main = psutil.Process(self.process.pid)
        for one in [main, *main.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                total += times.user + times.system
        return total

    def wait_for(self, text: str) -> None:
        """Until the text stands in the log. Raises RuntimeError."""
        give_up_at = time.monotonic() + _START
        while text not in self.log:
            if self.process.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError(f"{self.process.args} did not say {text!r}:\n{self.log[-3000:]}")
            time.sleep(0.05)

    def wait_for_port(self, port: int) -> None:
        """Until it listens there. Raises RuntimeError."""
        give_up_at = time.monotonic() + _START
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            if self.process.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError(f"{self.process.args} does not listen on {port}:\n{self.log[-3000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """SIGTERM to the process, SIGKILL to its group after 20 s."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._log.close()


@contextlib.contextmanager
def started(argv: Sequence[str], env: dict[str, str] | None = None, **options: Any) -> Generator[Started]:
    process = Started(argv, env or {}, **options)
    try:
        yield process
    finally:
        process.stop()


class StandIn:
    """The SQS stand-in in a process of its own, see `engines/standin.py`."""

    def __init__(self, process: Started, port: int) -> None:
        self.process, self.port = process, port
        self.broker_url = f"sqs://bench:bench@127.0.0.1:{port}"

    def reset(self) -> None:
        self._get("reset")

    def counts(self) -> dict[str, int]:
        """API requests since `reset`, by kind."""
        return self._get("counts")

    def waiting(self) -> int:
        """Messages that wait in all queues."""
        return self._get("waiting")["messages"]

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=10) as answer:
            return json.load(answer)


@contextlib.contextmanager
def stand_in(delay_ms: float = 10) -> Generator[StandIn]:
    port = free_port()
    argv = [sys.executable, "-m", "benchmarks.engines.standin", str(port), str(delay_ms)]
    with started(argv) as process:
        process.wait_for_port(port)
        yield StandIn(process, port)


@contextlib.contextmanager
def worker(
    broker_url: str, *, pool: str = "threads", concurrency: int = 64, env: dict[str, str] | None = None
) -> Generator[Started]:
    """`celery -A benchmarks.fleet_app worker`, ready."""
    argv = [sys.executable, "-m", "celery", "-A", "benchmarks.fleet_app", "worker", "-l", "WARNING"]
    argv += ["-P", pool, "-c", str(concurrency), "-n", f"bench{free_port()}@%h"]
    with (
        tempfile.TemporaryDirectory() as state,
        started(argv, {"ASYNCMCP_BROKER_URL": broker_url, "XDG_STATE_HOME": state, **(env or {})}) as process,
    ):
        yield process


def run_loads(
    argv: Sequence[str],
    loads: Sequence[str],
    *,
    servers: dict[str, Started] | None = None,
    counting: StandIn | None = None,
    env: dict[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Run a caller's loads; each result has the CPU ms per call of every server and the API requests per call.

    Raises:
        RuntimeError: the caller failed; with the end of its log.
    """
    results: list[dict[str, Any]] = []
    with started([*argv, *loads], env, stdin=subprocess.PIPE) as caller:
        assert caller.process.stdin is not None
        assert caller.process.stdout is not None
        for load in loads:
            if caller.process.stdout.readline().strip() != "ready":
                raise RuntimeError(f"{argv} failed at {load}:\n{caller.log[-3000:]}")
            if counting is not None:
                counting.reset()
            before = {name: server.cpu() for name, server in (servers or {}).items()}
            caller.process.stdin.write("\n")
            caller.process.stdin.flush()
            line = caller.process.stdout.readline()
            if not line.startswith("{"):
                raise RuntimeError(f"{argv} failed at {load}:\n{caller.log[-3000:]}")
            result = json.loads(line)
            time.sleep(0.3)  # the last acknowledgements
            for name, server in (servers or {}).items():
                result[f"{name}_cpu"] = (server.cpu() - before[name]) / max(1, result["calls"]) * 1_000
            if counting is not None:
                result["requests"] = counting.counts()
                result["requests_per_call"] = sum(result["requests"].values()) / max(1, result["calls"])
            result["load"] = load
            results.append(result)
            caller.process.stdin.write("\n")
            caller.process.stdin.flush()
    return results


def ours(broker_url: str, tool: str = "echo", *options: str) -> list[str]:
    """The command of our client, to which loads are added."""
    return [sys.executable, "-m", "benchmarks.caller", "--tool", tool, *options, "ours", broker_url]


@contextlib.contextmanager
def redis_server() -> Generator[tuple[Started, str]]:
    """A Redis of the benchmark's own, that keeps nothing; and its URL. Raises FileNotFoundError without Redis."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        argv = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", directory]
        with started(argv) as process:
            process.wait_for_port(port)
            yield process, f"redis://127.0.0.1:{port}/0"
