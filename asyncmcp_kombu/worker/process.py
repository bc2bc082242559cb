"""What a process of the worker keeps: one event loop, the server's lifespan, one publisher.

Celery cannot await, so every pool process has one long-lived event loop in a thread of its own; the server's
lifespan is entered once, there. Threads do not survive a fork: a pool child makes its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
from anyio.abc import TaskStatus
from anyio.from_thread import BlockingPortal, start_blocking_portal
from celery import Celery
from celery.signals import worker_process_shutdown, worker_shutdown
from kombu.connection import Connection

from asyncmcp_kombu.broker.connection import connect
from asyncmcp_kombu.broker.publisher import Publisher
from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.server.back_channel import BackChannel
from asyncmcp_kombu.server.fan_out import fan_out
from asyncmcp_kombu.server.keys import secret_keys
from asyncmcp_kombu.server.serving import Serving
from asyncmcp_kombu.server.sessions import Sessions
from asyncmcp_kombu.worker.outcomes import Outcomes
from asyncmcp_kombu.worker.pool_sockets import hear_cancellations
from asyncmcp_kombu.worker.running import RunningCalls
from asyncmcp_kombu.worker.served import Served, served_by
from asyncmcp_kombu.worker.trace_context import flush_spans, join_task_span

logger = logging.getLogger(__name__)

T = TypeVar("T")
_LIFESPAN_END = 10.0
"""Seconds that a server's lifespan may take to end."""


class Process:
    """The event loop, lifespan and publisher of one process for one app."""

    def __init__(self, app: Celery, served: Served) -> None:
        self.served = served
        self.calls = RunningCalls()
        self.outcomes = Outcomes(app, served.settings)
        self._serving: Serving | None = None
        self.token: anyio.lowlevel.EventLoopToken | None = None
        url, settings = app.conf.broker_write_url or app.conf.broker_url, served.settings

        def new_connection() -> Connection:
            return connect(url, settings)

        self.publisher = Publisher(
            new_connection,
            retry_for=settings.publish_retry,
            max_bytes=settings.max_message_bytes,
            fan_out=served.topology.events,
        )
        self._back_channel = BackChannel(served.topology, new_connection, settings.max_message_bytes)
        self._lock = threading.Lock()
        # Keep the context manager: a portal stops when its context manager is collected.
        self._portal_context: AbstractContextManager[BlockingPortal] | None = None
        self._portal: BlockingPortal | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lifespan_over: Future[None] | None = None
        self._ending: anyio.Event | None = None

    @property
    def serving(self) -> Serving:
        """The server in this process's event loop, once that runs."""
        assert self._serving is not None
        return self._serving

    def start_soon(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> Future[T]:
        """Run a coroutine function in the event loop, which is started, with the lifespan, if need be.

        It does not wait until the loop has begun with it, as a portal's `start_task_soon` does.
        """
        loop = self._loop or self._started()
        return asyncio.run_coroutine_threadsafe(function(*args), loop)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._portal is None or self._loop is None:
                self._portal_context = start_blocking_portal(backend="asyncio", name="asyncmcp-loop")
                portal = self._portal_context.__enter__()
                try:
                    # Not in the first call's context: the lifespan outlives that call, and its trace.
                    start = partial(portal.start_task, self._live, name="lifespan")
                    self._lifespan_over, _ = contextvars.Context().run(start)
                except BaseException:
                    self._portal_context.__exit__(None, None, None)
                    raise
                self._portal, self._loop = portal, portal.call(_this_loop)
            return self._loop

    async def _live(self, *, task_status: TaskStatus[None]) -> None:
        served, server = self.served, self.served.lowlevel
        join_task_span(server)
        self._ending, self.token = anyio.Event(), anyio.lowlevel.current_token()
        async with server.lifespan(server) as state, hear_cancellations(self.calls.cancel):
            with fan_out(served.server, server, self._publish_event) as fans_out:
                self._serving = Serving(
                    server=server,
                    lifespan_state=state,
                    sessions=Sessions(served.topology.server, secret_keys(served.settings)),
                    back_channel=self._back_channel,
                    publish=self.publisher.publish,
                    fans_out=fans_out,
                )
                task_status.started()
                await self._ending.wait()

    def _publish_event(self, event: Envelope) -> Future[None]:
        return self.publisher.publish_to(self.served.topology.events, event)

    def close(self) -> None:
        """End the lifespan, the event loop and the publisher; what was handed to it is sent first."""
        with self._lock:
            portal, self._portal, self._loop = self._portal, None, None
            if portal is not None and self._ending is not None and self._lifespan_over is not None:
                portal.call(self._ending.set)
                try:
                    self._lifespan_over.result(_LIFESPAN_END)
                except Exception:
                    logger.exception("the server's lifespan did not end well")
                assert self._portal_context is not None
                self._portal_context.__exit__(None, None, None)
        self._back_channel.close()
        self.publisher.close()
        self.outcomes.close()


async def _this_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


_lock = threading.Lock()
_processes: dict[Celery, Process] = {}


def process_of(app: Celery) -> Process:
    """This process's event loop and publisher for the app."""
    with _lock:
        process = _processes.get(app)
        if process is None:
            served = served_by(app)
            if served is None:
                raise RuntimeError(f"app {app.main!r} serves no MCP: call serve_mcp(app) in the app's module")
            process = _processes[app] = Process(app, served)
        return process


def close_all(**_: Any) -> None:
    """End what this process keeps, for every app."""
    with _lock:
        processes = list(_processes.values())
        _processes.clear()
    for process in processes:
        process.close()
    flush_spans()


def _forget_the_parents() -> None:
    global _lock  # noqa: PLW0603  a lock may have been held by another thread when the process was forked
    _lock = threading.Lock()
    _processes.clear()


os.register_at_fork(after_in_child=_forget_the_parents)
worker_process_shutdown.connect(close_all, weak=False)
worker_shutdown.connect(close_all, weak=False)
