"""A child process with its output in a file: waited for by what it says or listens on, ended by its id."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import psutil

from tests.conformance.errors import CannotRun

ROOT: Final = Path(__file__).parents[2]
"""Where children run: from here, `tests.conformance` can be imported."""
_STOPPING = 15.0


class Process:
    """Started on entry, in a session of its own; on exit ended, with its children, however the block ended.

    Args:
        argv: the command.
        log: gets what it writes.
        env: variables beside those of this process, of which `ASYNCMCP_*` are left out.
        errors: gets what it writes to standard error; by default that goes to the log too.

    Raises:
        CannotRun: from the waiting methods, with the end of the log.
    """

    def __init__(
        self, argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None, errors: Path | None = None
    ) -> None:
        self._argv, self._log, self._errors = list(argv), log, errors
        inherited = {key: value for key, value in os.environ.items() if not key.upper().startswith("ASYNCMCP_")}
        self._env = {**inherited, **(env or {})}

    def __enter__(self) -> Self:
        with self._log.open("wb") as log, self._open_errors() as errors:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=errors,
                env=self._env,
                cwd=ROOT,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOPPING)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # its group: also children that it left behind
            self._process.wait()

    def terminate(self) -> None:
        """Ask it to end, without waiting; a process that has ended already is left alone."""
        self._process.terminate()

    def output(self) -> str:
        """What it has written so far."""
        return self._log.read_text(errors="replace")

    def wait(self, timeout: float) -> int:
        """Its exit code, when it ends within that many seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self._failed(f"did not end within {timeout:g} s") from None

    def leaves_children(self, timeout: float) -> bool:
        """Whether processes that it started are still there, that many seconds after it has ended."""
        give_up_at = time.monotonic() + timeout
        while _group_runs(self._process.pid):
            if time.monotonic() > give_up_at:
                return True
            time.sleep(0.05)
        return False

    def wait_for_text(self, text: str, timeout: float = 60) -> None:
        """Until it has written this text, at most that many seconds."""
        self._wait_until(lambda: text in self.output(), f"did not say {text!r}", timeout)

    def wait_for_port(self, port: int, timeout: float = 60) -> None:
        """Until it listens on this port of 127.0.0.1, at most that many seconds."""
        self._wait_until(lambda: _listens(port), f"did not listen on port {port}", timeout)

    def _open_errors(self) -> AbstractContextManager[IO[bytes] | int]:
        return nullcontext(subprocess.STDOUT) if self._errors is None else self._errors.open("wb")

    def _wait_until(self, done: Callable[[], bool], otherwise: str, timeout: float) -> None:
        give_up_at = time.monotonic() + timeout
        while not done():
            if time.monotonic() > give_up_at:
                raise self._failed(f"{otherwise} within {timeout:g} s")
            with contextlib.suppress(subprocess.TimeoutExpired):
                raise self._failed(f"ended with code {self._process.wait(0.05)}")

    def _failed(self, how: str) -> CannotRun:
        written = self.output() + (self._errors.read_text(errors="replace") if self._errors else "")
        tail = "\n".join(written.strip().splitlines()[-30:]) or "(it wrote nothing)"
        return CannotRun(f"{' '.join(self._argv)}\n{how}. The end of what it wrote:\n{tail}")


def _group_runs(group: int) -> bool:
    """Whether a process of this group runs; one that ended is a zombie where nobody collects orphans, as in Docker."""
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
