"""Between broker threads and an event loop, on asyncio as on trio, without blocking either."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import anyio
import anyio.lowlevel

T = TypeVar("T")
CallSoon = Callable[[Callable[[], Any]], Any]


def finished() -> Future[None]:
    """A future that is done, for what needs no waiting."""
    done: Future[None] = Future()
    done.set_result(None)
    return done


def call_soon() -> CallSoon:
    """A function by which other threads schedule a call on the event loop that is running here."""
    native: Any = anyio.lowlevel.current_token().native_token  # asyncio's event loop, or trio's token
    return getattr(native, "call_soon_threadsafe", None) or native.run_sync_soon


async def wait_for(future: Future[T]) -> T:
    """The result of a future that another thread completes; cancelling the wait leaves the future alone."""
    if not future.done():
        done, soon = anyio.Event(), call_soon()
        future.add_done_callback(lambda _: _notify(soon, done))
        await done.wait()
    return future.result()


def _notify(soon: CallSoon, done: anyio.Event) -> None:
    try:
        soon(done.set)
    except RuntimeError:  # the loop ended before the answer came: nobody waits any more
        return
