"""Servers in processes of their own, on queues by URL."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator

from tests.sqs.aws import Aws


@contextlib.contextmanager
def serving(aws: Aws, *arguments: str, code: str | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process that serves, from its word that it is ready; ended as Ctrl-C does."""
    command = [sys.executable, "-m", "tests.sqs.notes", *arguments] if code is None else [sys.executable, "-c", code]
    process = subprocess.Popen(command, env=aws.env, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
