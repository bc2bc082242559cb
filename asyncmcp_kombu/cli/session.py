"""A client session for a command, and errors that a person can act on instead of tracebacks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import anyio
import typer
from mcp import Client
from mcp.shared.exceptions import MCPError
from rich.console import Console

from asyncmcp_kombu.client.transport import kombu_client
from asyncmcp_kombu.errors import AsyncMcpError
from asyncmcp_kombu.settings import Settings, redacted

errors = Console(stderr=True, highlight=False)

FAILED, MISUSED, UNREACHABLE = 1, 2, 3
"""Exit codes: the tool or server said no; the command line is wrong; nobody answered."""


class NoAnswer(AsyncMcpError):
    """No worker answered in time."""


@asynccontextmanager
async def session(settings: Settings, timeout: float, **options: Any) -> AsyncGenerator[Client]:
    """A connected client, with further options of its own. Raises NoAnswer when no worker answers in time."""
    transport = kombu_client(settings=settings)
    client = Client(transport, read_timeout_seconds=timeout, **options)
    connected = False
    try:
        with anyio.fail_after(timeout) as waiting:
            async with client:
                connected, waiting.deadline = True, float("inf")
                yield client
    except TimeoutError:
        if connected:
            raise
        raise NoAnswer(
            f"no worker of server {settings.server!r} answered within {timeout:g} s on "
            f"{redacted(settings.broker_url.get_secret_value())}. Is one running? "
            "(celery -A workers worker). Is the name right? (--server)"
        ) from None


def run(command: Callable[[], Awaitable[None]]) -> None:
    """Run a command's coroutine function; turn what it raises into one line and an exit code."""
    try:
        anyio.run(command)
    except BaseException as error:
        explain(error)


def explain(error: BaseException) -> NoReturn:
    """Exit with a readable line for what is expected to go wrong; raise what is not."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, MCPError):
        errors.print(f"[red]error {error.error.code}[/]: ", end="")
        errors.print(error.error.message, markup=False)
        raise typer.Exit(FAILED) from None
    if isinstance(error, ConnectionError | NoAnswer):
        errors.print("[red]unreachable[/]: ", end="")
        errors.print(str(error), markup=False)
        raise typer.Exit(UNREACHABLE) from None
    if isinstance(error, AsyncMcpError):
        errors.print("[red]error[/]: ", end="")
        errors.print(str(error), markup=False)
        raise typer.Exit(MISUSED if isinstance(error, ValueError) else FAILED) from None
    if isinstance(error, KeyboardInterrupt):
        raise typer.Exit(130) from None
    raise error
