"""asyncmcp's client and server, as processes of its own environment."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.peers.environment import peer_python
from tests.sqs.aws import Aws
from tests.sqs.conftest import anyio_backend, aws

__all__ = ["anyio_backend", "aws"]

HERE = Path(__file__).parent


@pytest.fixture
def peer_client(aws: Aws) -> Callable[..., dict[str, Any]]:
    """Runs asyncmcp's client with the arguments and gives what it reports."""
    python = peer_python()

    def run(*arguments: str) -> dict[str, Any]:
        command = [python, str(HERE / "asyncmcp_client.py"), *arguments]
        done = subprocess.run(command, env=aws.env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    return run


@pytest.fixture
def peer_server(aws: Aws) -> Callable[..., AbstractContextManager[None]]:
    """asyncmcp's server on a queue, while entered."""
    python = peer_python()

    @contextlib.contextmanager
    def serve(*arguments: str) -> Iterator[None]:
        command = [python, str(HERE / "asyncmcp_server.py"), *arguments]
        process = subprocess.Popen(command, env=aws.env, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    return serve
