"""What both commands share: the terminal, the exit codes, and Ctrl+C."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import typer
from rich.console import Console

from tests.conformance.errors import CannotRun

console: Final = Console(highlight=False)
_complain: Final = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """A line as it is."""
    console.print(text, markup=False, soft_wrap=True)


@contextmanager
def exit_codes() -> Generator[None]:
    """Exit code 2 when the block raises CannotRun, 130 when it is stopped by Ctrl+C or SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's `&` has SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    except CannotRun as error:
        _complain.print(f"conformance: {error}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        _complain.print("Stopped.")
        raise typer.Exit(130) from None
