"""`asyncmcp-kombu bridge`: a fleet for any MCP host, over stdio or Streamable HTTP."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from pydantic import SecretStr

from asyncmcp_kombu.cli.options import BrokerUrl, Server, settings_from
from asyncmcp_kombu.cli.session import errors, explain, run
from asyncmcp_kombu.errors import AsyncMcpError, ConfigurationError

if TYPE_CHECKING:
    from asyncmcp_kombu.bridge.forward import Bridge

TOKEN_VARIABLE = "ASYNCMCP_BRIDGE_TOKEN"  # noqa: S105


def bridge(
    stdio: Annotated[bool, typer.Option("--stdio", help="Serve the one host that starts this command.")] = False,
    http: Annotated[
        int | None,
        typer.Option("--http", metavar="PORT", min=0, max=65535, help="Serve many clients; 0 picks a free port."),
    ] = None,
    server: Server = None,
    broker_url: BrokerUrl = None,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            min=0.1,
            metavar="SECONDS",
            help="How long a tool may give no sign of life: answer, progress or log message.",
        ),
    ] = 300.0,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; any but loopback needs a token.")] = (
        "127.0.0.1"
    ),
    path: Annotated[str, typer.Option("--path", help="Where MCP is served.")] = "/mcp",
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            metavar="FILE",
            help=f"Holds the token that callers must send as a Bearer token.  \\[env: {TOKEN_VARIABLE}, the token]",
        ),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option("--allowed-host", metavar="NAME", help="Further name under which callers reach it; repeatable."),
    ] = None,
    allowed_origin: Annotated[
        list[str] | None,
        typer.Option("--allowed-origin", metavar="URL", help="Site whose web pages may call it; repeatable."),
    ] = None,
) -> None:
    """Connect an MCP host (an IDE, a desktop app, the Inspector) to a fleet.

    `bridge --stdio` is for hosts that start a command; `bridge --http 8080` serves http://127.0.0.1:8080/mcp.
    It forwards everything and knows no tool. Ctrl+C or the end of input stops it.

    Exit codes: 0 stopped; 1 failed; 2 the command line is wrong; 3 the broker cannot be reached.
    """
    from asyncmcp_kombu.bridge.forward import Bridge

    _log_to_stderr()
    try:
        if stdio == (http is not None):
            raise ConfigurationError("give either --stdio or --http PORT")
        made = Bridge(settings_from(server, broker_url), timeout)
        if http is None:
            serve = _stdio(made, token_file, allowed_host, allowed_origin)
        else:
            serve = _http(made, (host, http), path, _token(token_file), allowed_host or [], allowed_origin or [])
    except AsyncMcpError as error:
        explain(error)
    run(lambda: _until_signal(serve))


def _stdio(made: Bridge, *only_for_http: object) -> Callable[[anyio.Event], Awaitable[None]]:
    from asyncmcp_kombu.bridge.stdio import serve_stdio

    if any(only_for_http):
        raise ConfigurationError("--token-file, --allowed-host and --allowed-origin belong to --http")
    return lambda stop: serve_stdio(made, stop)


def _http(
    made: Bridge, address: tuple[str, int], path: str, token: SecretStr | None, hosts: list[str], origins: list[str]
) -> Callable[[anyio.Event], Awaitable[None]]:
    from asyncmcp_kombu.bridge.hosts import in_url, is_loopback, protection
    from asyncmcp_kombu.bridge.http import bridge_app, listen, serve_http

    host, _ = address
    if not path.startswith("/"):
        raise ConfigurationError(f"--path {path!r} does not begin with a slash, as /mcp does")
    if token is None and not is_loopback(host):
        raise ConfigurationError(
            f"--host {host} can be reached from other machines, and anyone there could call every tool: set "
            f"{TOKEN_VARIABLE} or --token-file (make a token with: openssl rand -hex 32)"
        )
    sock = listen(*address)
    port: int = sock.getsockname()[1]
    app = bridge_app(
        made, path=path, security=protection(host, port, hosts, origins), token=token, cors_origins=origins
    )

    def ready() -> None:
        line = f"Bridge to server {made.settings.server!r}: http://{in_url(host)}:{port}{path}. Ctrl+C stops it."
        errors.print(line, markup=False, soft_wrap=True)

    async def serve(stop: anyio.Event) -> None:
        with sock:
            await serve_http(app, sock, stop, ready)

    return serve


async def _until_signal(serve: Callable[[anyio.Event], Awaitable[None]]) -> None:
    stop = anyio.Event()

    async def wait() -> None:
        try:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    stop.set()
        except NotImplementedError:  # Windows, where Ctrl+C raises KeyboardInterrupt
            return

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await serve(stop)
        tasks.cancel_scope.cancel()


def _token(file: Path | None) -> SecretStr | None:
    """From the file, or the environment: a command line can be read by every user of the machine."""
    if file is None:
        source, text = TOKEN_VARIABLE, os.environ.get(TOKEN_VARIABLE)
    else:
        try:
            source, text = f"--token-file {file}", file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"--token-file {file} cannot be read: {error}") from None
    if text is None:
        return None
    token = text.strip()
    if not token or any(character.isspace() for character in token):
        raise ConfigurationError(f"{source} holds no token: expected one word (make one with: openssl rand -hex 32)")
    return SecretStr(token)


def _log_to_stderr() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
