"""A progress bar on standard error, for what a call reports and what a task says of itself."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from asyncmcp_kombu.cli.session import errors
from asyncmcp_kombu.task_state import Task

_NUMBERS = re.compile(r"(?P<done>\d+(?:\.\d+)?) ?(?:(?:/|of) ?(?P<total>\d+(?:\.\d+)?)|%)")
"""A task tells its progress in words: `3 of 10`, `3/10`, `30 %`."""


class Bar:
    """Shown while entered, once there is something to show. Where standard error is no terminal, tasks get lines."""

    def __init__(self, name: str) -> None:
        self._name, self._said = name, ""
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeElapsedColumn(),
            console=errors,
            transient=True,
            disable=not errors.is_terminal,
        )
        self._shown = self._progress.add_task(name, total=None, visible=False)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self._progress.stop()

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """The SDK's progress callback."""
        self._show(progress, total, message or self._name)

    def status(self, task: Task) -> None:
        """What a task says now."""
        said = task.status_message or (self._name if task.status == "working" else task.status.replace("_", " "))
        done, total = numbers(said)
        self._show(done, total, said)
        if not errors.is_terminal and not task.ended and task.status_message and said != self._said:
            errors.print(f"{task.status}: {said}", markup=False, soft_wrap=True)
        self._said = said

    @contextmanager
    def paused(self) -> Generator[None]:
        """The terminal belongs to somebody else meanwhile."""
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()

    def _show(self, done: float, total: float | None, description: str) -> None:
        self._progress.update(self._shown, completed=done, total=total, description=description, visible=True)


def numbers(said: str) -> tuple[float, float | None]:
    """How much is done, of how much, where that is said; else 0 of nobody knows what."""
    found = _NUMBERS.search(said)
    if found is None:
        return 0.0, None
    return float(found["done"]), float(found["total"] or 100)
