"""The calls that run in one process, so that a cancellation finds them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from asyncmcp_kombu.server.cancellation import Cancellations, Key


class RunningCalls:
    """Used in the process's event loop only."""

    def __init__(self) -> None:
        self._cancel: dict[Key, Callable[[], None]] = {}
        self._early = Cancellations()

    @contextmanager
    def running(self, key: Key | None, cancel: Callable[[], None]) -> Generator[None]:
        """While entered, a cancellation of the call calls `cancel`; so does one that came before."""
        if key is None:
            yield
            return
        self._cancel[key] = cancel
        if key in self._early:
            cancel()
        try:
            yield
        finally:
            if self._cancel.get(key) is cancel:
                del self._cancel[key]

    def cancel(self, key: Key) -> None:
        cancel = self._cancel.get(key)
        if cancel is None:
            self._early.add(key)
        else:
            cancel()
