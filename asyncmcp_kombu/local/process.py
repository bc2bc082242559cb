"""LocalEngine: the embedded endpoint, from its start to the first answer to its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from asyncmcp_kombu.local.child import Child
from asyncmcp_kombu.local.endpoint import answers_sqs, claim_port, loopback
from asyncmcp_kombu.local.engines import DEFAULT_ENGINE, Engine, engine_named
from asyncmcp_kombu.local.errors import LocalEngineError

DEFAULT_PORT: Final = 4566
"""The port of the default `ASYNCMCP_BROKER_URL`."""


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class LocalEngine:
    """An SQS and SNS endpoint on loopback, for development.

    A context manager: `start` on entry, `stop` on exit. Its calls block; in async code run them in a thread.
    Whatever ends this process, also kill -9, ends the endpoint. POSIX only.

    Args:
        engine: one of `ENGINES`; default `ministack`.
        host: an IPv4 loopback address or `localhost`; default 127.0.0.1.
        port: default 4566; 0 picks a free port at each start.
        data_dir: keep queues and messages here across starts; default: in memory only.
        start_timeout: seconds until the endpoint must answer; default 30. Fetching an engine is not counted.
        say: told what takes long (fetching an engine); default: a line on stderr.

    Raises:
        LocalEngineError: unknown engine, a host other than loopback, a data_dir the engine cannot use.
    """

    def __init__(
        self,
        engine: str = DEFAULT_ENGINE,
        *,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        data_dir: Path | str | None = None,
        start_timeout: float = 30.0,
        say: Callable[[str], None] = _to_stderr,
    ) -> None:
        self.engine: Final[Engine] = engine_named(engine)
        self.host: Final[str] = loopback(host)
        self.data_dir: Final = Path(data_dir).resolve() if data_dir is not None else None
        if self.data_dir and not self.engine.keeps_messages:
            raise LocalEngineError(f"the engine {engine!r} cannot keep messages in a directory; leave it out")
        self._wanted_port = self._port = port
        self._start_timeout = start_timeout
        self._say = say
        self._child: Child | None = None

    @property
    def port(self) -> int:
        """Where the endpoint listens; 0 before the first start when a free port was asked for."""
        return self._port

    @property
    def pid(self) -> int | None:
        """Process id of the child, which leads a process group of its own; None while there is none."""
        return self._child.pid if self._child else None

    @property
    def endpoint_url(self) -> str:
        """For boto3's `endpoint_url`."""
        return f"http://{self.host}:{self._port}"

    @property
    def broker_url(self) -> str:
        """For `ASYNCMCP_BROKER_URL` and `kombu_client`."""
        return f"sqs://local:local@{self.host}:{self._port}"

    def start(self) -> None:
        """Fetch the engine if need be, start it, and wait until it answers a ListQueues request.

        Raises:
            LocalEngineError: already started, not installed, the port is taken, the child ended (with the
                end of its log) or did not answer in time. No child is left then.
        """
        if self._child is not None:
            raise LocalEngineError(f"the endpoint {self.endpoint_url} is already started")
        self.engine.install(self._say)
        if self.data_dir:
            self.data_dir.mkdir(parents=True, exist_ok=True)
        self._port = claim_port(self.host, self._wanted_port)
        self._child = Child(self.engine.command(self.host, self._port, self.data_dir))
        try:
            self._await_answer(self._child)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the child: SIGTERM to its group, SIGKILL after 5 s. Gone on return; may be called again."""
        child, self._child = self._child, None
        if child is not None:
            child.stop()

    def wait(self, timeout: float | None = None) -> int | None:
        """Block until the child ends by itself, at most `timeout` seconds (default: for ever).

        Returns:
            Its exit code, negative for a signal; None when the time is up first.

        Raises:
            LocalEngineError: not started.
        """
        if self._child is None:
            raise LocalEngineError("the endpoint is not started")
        return self._child.wait(timeout)

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that the child wrote; empty before `start` and after `stop`."""
        return self._child.log_tail(lines) if self._child else ""

    def _await_answer(self, child: Child) -> None:
        deadline = time.monotonic() + self._start_timeout
        while time.monotonic() < deadline:
            answered = answers_sqs(self.host, self._port)
            code = child.wait(0 if answered else 0.05)
            if code is not None:  # also when a stranger took the port meanwhile and answers
                raise self._failed(f"ended with code {code} instead of answering on {self.endpoint_url}")
            if answered:
                return
        raise self._failed(f"did not answer on {self.endpoint_url} within {self._start_timeout:g} s")

    def _failed(self, how: str) -> LocalEngineError:
        log = self.log_tail() or "(it wrote nothing)"
        return LocalEngineError(f"{self.engine.name} {how}. The end of its log:\n{log}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
