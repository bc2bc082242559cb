"""Processes forked from a template (template.py), as a test wants to hold them: like `subprocess.Popen`."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from queue import SimpleQueue
from typing import Any

_STARTS_WITHIN = 60.0


class Forked:
    """A process that the template forked."""

    def __init__(self, pid: int, ended: threading.Event, codes: dict[int, int]) -> None:
        self.pid, self._ended, self._codes = pid, ended, codes

    @property
    def returncode(self) -> int | None:
        return self._codes[self.pid] if self._ended.is_set() else None

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return self._codes[self.pid]

    def terminate(self) -> None:
        if not self._ended.is_set():
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        if not self._ended.is_set():
            os.kill(self.pid, signal.SIGKILL)


class Template:
    """The template process, started with the first order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._started: SimpleQueue[int] = SimpleQueue()
        self._ended: dict[int, threading.Event] = {}
        self._codes: dict[int, int] = {}
        self._temporary = tempfile.TemporaryDirectory(prefix="asyncmcp-tests-")
        """For what it forks: a worker that is killed leaves its temporary files."""

    def start(
        self, module: str, arguments: Sequence[str], env: Mapping[str, str], out: str, err: str | None = None
    ) -> Forked:
        """Run `python -m module`, in a session of its own, with its output appended to files that exist.

        Args: err: for its standard error; default: the same file.
        """
        order = {
            "module": module,
            "arguments": list(arguments),
            "env": {"TMPDIR": self._temporary.name, **env},
            "cwd": os.getcwd(),
        }
        order |= {"out": out, "err": err or out}
        with self._lock:
            process = self._running()
            assert process.stdin is not None
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            pid = self._started.get(timeout=_STARTS_WITHIN)
        return Forked(pid, self._ended[pid], self._codes)

    def stop(self) -> None:
        """End the template; what it forked goes on."""
        with self._lock:
            process, self._process = self._process, None
            if process is not None:
                assert process.stdin is not None
                process.stdin.close()
                process.wait(10)

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fleet.template"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            threading.Thread(target=self._listen, args=(self._process,), name="template", daemon=True).start()
            self._started.get(timeout=_STARTS_WITHIN)
        return self._process

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            news: dict[str, Any] = json.loads(line)
            if "ended" in news:
                self._codes[news["ended"]] = news["code"]
                self._ended[news["ended"]].set()
            else:
                pid = news.get("started") or news["ready"]
                self._ended[pid] = threading.Event()
                self._started.put(pid)
        process.stdout.close()


template = Template()
atexit.register(template.stop)
