"""`asyncmcp-kombu demo`: an embedded SQS, a Celery worker and a client, and what happens between them."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import IO, Annotated, Any

import typer
from mcp import Client
from pydantic import SecretStr
from rich.console import Console

from asyncmcp_kombu.cli.session import NoAnswer, errors, run, session
from asyncmcp_kombu.errors import ConfigurationError
from asyncmcp_kombu.local import LocalEngine
from asyncmcp_kombu.settings import Settings

say = Console(highlight=False)
_PATIENCE = 60.0
_STOPPING = 15.0


def demo(
    app: Annotated[str, typer.Option("--app", help="Celery app to run; its name is the server's name.")] = "workers",
    engine: Annotated[str | None, typer.Option("--engine", help="Which embedded SQS to start.")] = None,
) -> None:
    """Run the main job once: start SQS and a worker, list and call tools from an MCP client, stop again."""
    sys.path.insert(0, os.getcwd())  # noqa: PTH109  as celery does, to find the app beside the caller
    if importlib.util.find_spec(app) is None:
        errors.print(
            f"[red]no module {app!r} here[/]: run the demo in a checkout of asyncmcp-kombu, or name your app: --app"
        )
        raise typer.Exit(2)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` has it ignored

    async def command() -> None:
        started = time.monotonic()
        say.print("[bold]1.[/] An embedded SQS starts on this machine (no AWS account, no docker).")
        with LocalEngine(*((engine,) if engine else ()), port=0) as sqs:
            say.print(f"   It listens at {sqs.broker_url.rpartition('@')[2]}.")
            say.print(f"[bold]2.[/] A Celery worker starts: [cyan]celery -A {app} worker[/]")
            settings = Settings(broker_url=SecretStr(sqs.broker_url), server=app)
            with _worker(app, settings) as log:
                await _talk(settings, log)
        say.print(f"[green]Done[/] in {time.monotonic() - started:.1f} s: worker and SQS are stopped.")

    run(command)


async def _talk(settings: Settings, log: IO[bytes]) -> None:
    try:
        async with session(settings, _PATIENCE) as client:
            say.print("[bold]3.[/] An ordinary [cyan]mcp.Client[/] connects to the queue instead of to a URL.")
            listed = await client.list_tools()
            say.print(
                f"   The fleet offers {len(listed.tools)} tools: {', '.join(t.name for t in listed.tools)}",
                soft_wrap=True,
            )
            say.print("[bold]4.[/] It calls three of them. Each call is a Celery task named after the tool.")
            await _call(client, "add", {"a": 2, "b": 40})
            await _call(client, "countdown", {"steps": 4, "seconds": 1.0})
            order = {"customer": "Ada", "items": [{"name": "punched card", "price": 0.25, "quantity": 80}]}
            await _call(client, "price_order", {"order": order})
    except NoAnswer as error:
        raise ConfigurationError(f"{error}\n--- the worker's log ---\n{_tail(log)}") from error
    say.print("[bold]5.[/] What the worker's log says of it:")
    for line in _tail(log, 400).splitlines():
        if "succeeded in" in line:
            say.print(f"   {line.partition('] ')[2]}", markup=False, style="dim", soft_wrap=True)


async def _call(client: Client, tool: str, arguments: dict[str, Any]) -> None:
    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        say.print(f"     progress: {message}")

    say.print(f"   [cyan]{tool}[/]({json.dumps(arguments)})", soft_wrap=True)
    began = time.monotonic()
    result = await client.call_tool(tool, arguments, progress_callback=on_progress)
    if result.is_error:
        raise ConfigurationError(f"the tool {tool} failed: {result.content}")
    say.print(f"     = {json.dumps(result.structured_content)}  [dim]{1000 * (time.monotonic() - began):.0f} ms[/]")


@contextlib.contextmanager
def _worker(app: str, settings: Settings) -> Generator[IO[bytes]]:
    """A worker with its log in a temporary file; stopped, with its children, however the block ends."""
    environment = {**os.environ, "ASYNCMCP_BROKER_URL": settings.broker_url.get_secret_value()}
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        app,
        "worker",
        "--loglevel",
        "INFO",
        "--concurrency",
        "2",
    ]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=Path.cwd(),
        )
        try:
            yield log
        finally:
            process.terminate()
            try:
                process.wait(_STOPPING)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _tail(log: IO[bytes], lines: int = 30) -> str:
    log.seek(0)
    return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
