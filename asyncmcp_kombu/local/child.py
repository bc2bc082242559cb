"""A child process that never outlives its parent, and its log.

The child holds the read end of a pipe whose write end only this process has. However this process ends, also
by kill -9, the pipe closes and the child leaves (serve/with_parent.py). Linux's PR_SET_PDEATHSIG would end
the child already with the *thread* that started it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from typing import Final

from asyncmcp_kombu.local.engines import Command

STOP_TIMEOUT: Final = 5.0
"""Seconds between SIGTERM and SIGKILL."""


class Child:
    """Started on construction, in a process group of its own; `stop` must be called once. POSIX only."""

    def __init__(self, command: Command) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (it has no name: nothing to leave behind)
        try:
            self._process = subprocess.Popen(
                command.argv,
                stdin=subprocess.PIPE,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **command.env},
                start_new_session=True,
            )
        except BaseException:
            self._log.close()
            raise

    @property
    def pid(self) -> int:
        """Process id, and id of its process group."""
        return self._process.pid

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until it ends, at most `timeout` seconds: its exit code, negative for a signal, else None."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout)
        return None

    def stop(self) -> None:
        """SIGTERM to its group, SIGKILL after 5 s or when interrupted. It is gone on return."""
        try:
            self._signal(signal.SIGTERM)
            self.wait(STOP_TIMEOUT)
        finally:
            self._signal(signal.SIGKILL)
            self._process.wait()
            if self._process.stdin:
                self._process.stdin.close()
            self._log.close()

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that it wrote."""
        # pread leaves the file offset alone, which the child shares.
        end = os.fstat(self._log.fileno()).st_size
        start = max(0, end - 16_384)
        text = os.pread(self._log.fileno(), end - start, start).decode(errors="replace")
        return "\n".join(text.strip().splitlines()[-lines:])

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)
