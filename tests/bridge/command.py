"""The command as a real process: started by the SDK's own stdio client, or by hand to see how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp import StdioServerParameters

from asyncmcp_kombu import Settings
from tests.bridge.http import SOON

COMMAND = [sys.executable, "-m", "asyncmcp_kombu.cli.main", "bridge"]


def environment(settings: Settings) -> dict[str, str]:
    return {
        **os.environ,
        "ASYNCMCP_BROKER_URL": settings.broker_url.get_secret_value(),
        "ASYNCMCP_PREFIX": settings.prefix,
        "ASYNCMCP_SERVER": settings.server,
        "COLUMNS": "200",
        "NO_COLOR": "1",
    }


def stdio_parameters(settings: Settings, *args: str) -> StdioServerParameters:
    """For the SDK's `Client`."""
    return StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], "--stdio", *args], env=environment(settings))


class Command:
    """`asyncmcp-kombu bridge …` with its pipes."""

    def __init__(self, process: anyio.abc.Process) -> None:
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._stdin = process.stdin
        self._stdout = BufferedByteReceiveStream(process.stdout)
        self._stderr = BufferedByteReceiveStream(process.stderr)

    async def write(self, message: dict[str, Any]) -> None:
        await self._stdin.send(json.dumps(message).encode() + b"\n")

    async def read(self) -> dict[str, Any]:
        """The next line of standard output, which must be JSON."""
        return json.loads(await self._stdout.receive_until(b"\n", 2_000_000))

    async def says(self) -> str:
        """The next line of standard error."""
        return (await self._stderr.receive_until(b"\n", 100_000)).decode()

    async def end_of_input(self) -> None:
        await self._stdin.aclose()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self) -> int:
        return await self._process.wait()

    async def rest(self) -> tuple[str, str]:
        """What is left on standard output and standard error."""
        return await _all(self._stdout), await _all(self._stderr)


async def _all(stream: BufferedByteReceiveStream) -> str:
    text = b""
    try:
        while True:
            text += await stream.receive()
    except anyio.EndOfStream:
        return text.decode()


class _Killed:
    """No process outlives its test."""

    def __init__(self, process: anyio.abc.Process) -> None:
        self._process = process

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            if self._process.returncode is None:
                self._process.kill()
            await self._process.aclose()


@asynccontextmanager
async def command(settings: Settings, *args: str, **env: str) -> AsyncGenerator[Command]:
    """The running command; killed at the end if it has not ended."""
    process = await anyio.open_process([*COMMAND, *args], env={**environment(settings), **env})
    async with _Killed(process):
        with anyio.fail_after(3 * SOON):
            yield Command(process)


def run(*args: str, env: dict[str, str] | None = None, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """The command to its end, with an input that says nothing and does not end."""
    silent, other_end = os.pipe()
    try:
        return subprocess.run(
            [*COMMAND, *args],
            stdin=silent,
            capture_output=True,
            text=True,
            env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **(env or {})},
            timeout=timeout,
        )
    finally:
        os.close(silent)
        os.close(other_end)
