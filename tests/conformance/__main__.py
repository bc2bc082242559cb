"""The command: `python -m tests.conformance [sdk] [single] [fleet]`."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from tests.conformance import expected, report, suite, terminal
from tests.conformance.backends import BACKENDS, Places
from tests.conformance.errors import CannotRun
from tests.conformance.expected import Expected
from tests.conformance.install import installed
from tests.conformance.suite import CHECKS, Selection


def main(
    backends: Annotated[
        list[str] | None, typer.Argument(help=f"Which servers: {', '.join(BACKENDS)}.  \\[default: single fleet]")
    ] = None,
    versions: Annotated[
        list[str] | None, typer.Option("--spec-version", help="Which versions; may be repeated.  \\[default: both]")
    ] = None,
    scenarios: Annotated[
        list[str] | None, typer.Option("--scenario", help="Which scenarios; may be repeated.  \\[default: all]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Run a --scenario at any version.")] = False,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Celery workers in the fleet.")] = 2,
    output: Annotated[Path | None, typer.Option("--output", help="Keep results and logs here.")] = None,
) -> None:
    """Run the official MCP conformance suite. Exit code 1: an unexpected result; 2: it could not be run."""
    chosen = list(dict.fromkeys(backends or ["single", "fleet"]))
    if unknown := [name for name in chosen if name not in BACKENDS]:
        raise typer.BadParameter(f"{', '.join(unknown)}; choose from {', '.join(BACKENDS)}")
    with terminal.exit_codes(), ExitStack() as stack:
        command = installed(terminal.say).suite
        listed = expected.read()
        where = output or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="conformance-")))
        good = [
            _run(
                name,
                where / name,
                command,
                versions or list(CHECKS),
                Selection(scenarios or (), force, tasks=name == "fleet"),  # only Celery tools can be tasks
                listed,
                workers,
            )
            for name in chosen
        ]
    raise typer.Exit(0 if all(good) else 1)


def _run(
    backend: str,
    where: Path,
    command: list[str],
    versions: list[str],
    selection: Selection,
    listed: list[Expected],
    workers: int,
) -> bool:
    """Run the suite against one backend; whether everything came out as expected."""
    if where.exists():
        raise CannotRun(f"{where} exists; name another directory for --output, or remove this one")
    where.mkdir(parents=True)
    with BACKENDS[backend](Places(where, workers)) as url:
        outcomes = [
            suite.run(command, url, version, selection, expected.reasons(backend, version, listed), where / version)
            for version in versions
        ]
    report.show(terminal.console, backend, outcomes)
    return all(outcome.good for outcome in outcomes)


if __name__ == "__main__":
    typer.run(main)
