"""TaskThread: Celery's thread, lent to the event loop while it waits for a call to be served.

The body of a tool runs in the thread that Celery gave the task, not in the event loop's: there a soft time
limit is raised, `self.retry()` and `current_task` work, and a sync tool blocks nobody. The event loop hands
the body over and awaits it.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import anyio
from anyio._core._eventloop import threadlocals
from anyio.lowlevel import EventLoopToken

from asyncmcp_kombu.broker.threads import call_soon

T = TypeVar("T")


def _nothing() -> None:
    return None


class TaskThread:
    """Made and waited on in Celery's thread; `run` is awaited in the event loop."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.taken = False
        """Something that the event loop handed over runs here, or will. Only the event loop asks and says."""

    def wait(self, future: Future[T], then: Callable[[], Future[None] | None] = _nothing) -> T:
        """The future's result; meanwhile run here what the event loop hands over. May be nested.

        `then` is asked when the future is done: what it names is waited for, too, without waking this thread twice.
        """
        finished = False

        def finish(_: object) -> None:
            nonlocal finished
            finished = True
            self._work.put(None)

        def proceed(_: object) -> None:
            following = then()
            if following is None:
                finish(None)
            else:
                following.add_done_callback(finish)

        future.add_done_callback(proceed)
        while not finished:
            work = self._work.get()
            if work is not None:
                work()
        return future.result()

    async def run(self, function: Callable[[], T], on_cancel: Callable[[], object]) -> T:
        """Run `function` in Celery's thread. When cancelled, calls `on_cancel` and still waits for its end.

        Raises what the function raises. An exception that would end the event loop (SystemExit) comes as a
        RuntimeError, of which it is the cause.
        """
        done, soon = anyio.Event(), call_soon()
        value: list[T] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                value.append(function())
            except BaseException as error:
                errors.append(error)
            finally:
                soon(done.set)

        before, self.taken = self.taken, True
        self._work.put(work)
        try:
            await done.wait()
        except anyio.get_cancelled_exc_class():
            on_cancel()
            with anyio.CancelScope(shield=True):
                await done.wait()
            raise
        finally:
            self.taken = before
        if errors:
            if isinstance(errors[0], Exception):
                raise errors[0]
            raise RuntimeError(f"the tool raised {type(errors[0]).__name__}") from errors[0]
        return value[0]


class FromThread:
    """Within it, `anyio.from_thread` reaches the event loop, as in the SDK's own worker threads.

    That is how a sync tool awaits, `anyio.from_thread.run(ctx.report_progress, 1, 10)`, and how it sees that its
    call was cancelled, `anyio.from_thread.check_cancelled()`.

    Private names of anyio 4 used here: `anyio._core._eventloop.threadlocals` with `current_token` and
    `current_cancel_scope`. tests/fleet/test_cancellation.py fails when one goes.
    """

    def __init__(self, token: EventLoopToken | None, scope: anyio.CancelScope | None = None) -> None:
        self._values = {"current_token": token, "current_cancel_scope": scope}

    def __enter__(self) -> None:
        self._before = dict(threadlocals.__dict__)
        threadlocals.__dict__.update({name: value for name, value in self._values.items() if value is not None})

    def __exit__(self, *_: object) -> None:
        for name in self._values:
            if name in self._before:
                threadlocals.__dict__[name] = self._before[name]
            else:
                threadlocals.__dict__.pop(name, None)
