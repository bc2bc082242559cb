"""`asyncmcp-kombu local`: the embedded SQS and SNS in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asyncmcp_kombu.cli.session import FAILED, explain
from asyncmcp_kombu.errors import AsyncMcpError
from asyncmcp_kombu.local import DEFAULT_ENGINE, DEFAULT_PORT, ENGINES, LocalEngine, run_until_stopped

_ENGINES = "; ".join(f"{engine.name}: {engine.summary}" for engine in ENGINES.values())


def local(
    engine: Annotated[str, typer.Option("--engine", metavar="NAME", help=_ENGINES)] = DEFAULT_ENGINE,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 picks a free one.")] = DEFAULT_PORT,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Keep messages here across restarts (not moto).")
    ] = None,
) -> None:
    """Start an SQS and SNS endpoint on 127.0.0.1, say how to use it, and run until Ctrl+C."""
    try:
        code = run_until_stopped(LocalEngine(engine, port=port, data_dir=data_dir))
    except AsyncMcpError as error:
        explain(error)
    raise typer.Exit(FAILED if code else 0)
