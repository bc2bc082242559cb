"""What a client's callbacks have heard, and waiting for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import anyio

from tests.interaction.connect import SOON

T = TypeVar("T")


class Heard(Generic[T]):
    """Collects what it is called with; used in one event loop."""

    def __init__(self) -> None:
        self.all: list[T] = []
        self._more = anyio.Event()

    async def __call__(self, item: T) -> None:
        self.all.append(item)
        self._more.set()
        self._more = anyio.Event()

    async def until(self, enough: Callable[[list[T]], Any]) -> list[T]:
        """Everything heard so far, once it is enough."""
        with anyio.fail_after(SOON):
            while not enough(self.all):
                await self._more.wait()
        return self.all

    async def until_there_are(self, count: int) -> list[T]:
        return await self.until(lambda heard: len(heard) >= count)


class Progress(Heard[tuple[float, float | None, str | None]]):
    """A progress callback: `(progress, total, message)` each."""

    async def __call__(self, progress: float, total: float | None = None, message: str | None = None) -> None:  # type: ignore[override]
        await super().__call__((progress, total, message))

    @property
    def steps(self) -> list[float]:
        return [progress for progress, _, _ in self.all]
