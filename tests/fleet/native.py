"""pytest-celery's worker node around a native process instead of a docker container.

Its nodes use a small surface of their container, which a process can serve. pytest-celery is pinned to 1.3 for that:
the base class is imported for its type only.
"""

from __future__ import annotations

import contextlib
import os
import signal as signals
import subprocess
import tempfile
import time
from typing import Any

import celery
import psutil
from pytest_celery import CeleryTestContainer

from tests.fleet.starting import template


class NativeProcess(CeleryTestContainer):
    """`python -m celery` in a session of its own, with its output in a temporary file."""

    def __init__(self, name: str, arguments: list[str], prompt: str, env: dict[str, str]) -> None:
        # No super().__init__(): there is no docker here.
        self._name, self._arguments, self._prompt = name, arguments, prompt
        self._env = {**os.environ, **env}
        self._log = tempfile.NamedTemporaryFile(suffix=".log")  # noqa: SIM115
        self._start()

    def _start(self) -> None:
        self._ending = False
        self._starts_at = self._log.seek(0, os.SEEK_END)
        self._process = template.start("celery", self._arguments, self._env, self._log.name)

    name = property(lambda self: self._name)
    id = property(lambda self: f"{self._process.pid:012d}")
    pid = property(lambda self: self._process.pid)
    status = property(lambda self: "running" if self._process.poll() is None else "exited")
    celeryconfig = property(lambda self: {})
    ready_prompt = property(lambda self: self._prompt)

    def logs(self) -> str:
        with open(self._log.name, errors="replace") as log:
            log.seek(self._starts_at)
            return log.read()

    def ready(self, timeout: float = 40) -> bool:
        self.wait_for_log(self._prompt, timeout)
        return True

    def wait_for_log(self, text: str, timeout: float = 20) -> None:
        """Until the text stands in the log since the last start; fails when the process ends first."""
        deadline = time.monotonic() + timeout
        while text not in self.logs():
            if self._process.poll() is not None and text not in self.logs():
                raise AssertionError(f"{self.name} ended with {self._process.returncode}:\n{self.logs()[-4000:]}")
            if time.monotonic() > deadline:
                raise AssertionError(f"{text!r} did not come within {timeout} s:\n{self.logs()[-4000:]}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)

    def kill(self, signal: str | int = "SIGKILL") -> None:
        """The signal for the whole group, prefork children too."""
        number = getattr(signals, signal) if isinstance(signal, str) else signal
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)
        self._process.wait(30)

    def begin_to_terminate(self) -> None:
        if self._process.poll() is None and not self._ending:
            self._ending = True
            self._process.terminate()

    def terminate(self, timeout: float = 30) -> int:
        """Celery's warm shutdown: SIGTERM to the main process only. Returns the exit code."""
        self.begin_to_terminate()
        return self._process.wait(timeout)

    def wait(self, timeout: float = 30) -> int:
        return self._process.wait(timeout)

    def teardown(self) -> None:
        if self.status == "running":
            children = psutil.Process(self.pid).children(recursive=True)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.terminate(15)
            if self.status == "running":
                self.kill()
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        self._log.close()

    def restart(self, timeout: float = 40) -> bool:
        if self.status == "running":
            self.terminate()
        self._start()
        return self.ready(timeout)

    def reload(self) -> None:
        """There is no cached container state."""

    version = staticmethod(lambda: celery.__version__)
    log_level = staticmethod(lambda: "INFO")

    def worker_name(self) -> str:
        return self._name

    def worker_queue(self) -> str:
        return "celery"


def worker_process(
    app: str,
    env: dict[str, str],
    *,
    name: str = "w1",
    pool: str = "prefork",
    concurrency: int = 4,
    **options: Any,
) -> NativeProcess:
    """A Celery worker, started but perhaps not ready yet; `options` are further flags (`Q="gpu"`)."""
    arguments = ["-A", app, "worker", "-l", "INFO", "-n", f"{name}@%h", "-P", pool, "-c", str(concurrency)]
    for flag, value in options.items():
        arguments += [
            f"-{flag}" if len(flag) == 1 else f"--{flag.replace('_', '-')}",
            *([str(value)] if value is not True else []),
        ]
    return NativeProcess(name, arguments, "ready.", {"FLEET_POOL": pool, **env})
