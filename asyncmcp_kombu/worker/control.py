"""Control: how a cancellation gets from the control exchange to the tool that runs.

One thread of the worker hears the exchange, marks the call as revoked for Celery (so that it never starts), and
tells every process of the pool over a datagram socket. Celery's own remote control cannot serve: on SQS it is off.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
from celery import bootsteps
from celery.signals import worker_shutdown
from celery.worker.state import active_requests, revoked
from kombu.connection import Connection

from asyncmcp_kombu.broker.connection import connect
from asyncmcp_kombu.broker.inbox import Inbox
from asyncmcp_kombu.server.cancellation import Cancellations, Key, control_inbox
from asyncmcp_kombu.worker.call import call_id
from asyncmcp_kombu.worker.served import served_by

logger = logging.getLogger(__name__)

cancelled = Cancellations()
"""What this worker has heard of."""


class Control(bootsteps.StartStopStep):
    """Hears the control exchange from before the worker takes calls until it has stopped."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def __init__(self, c: Any, **kwargs: Any) -> None:
        super().__init__(c, **kwargs)
        self._inbox: Inbox | None = None

    def start(self, c: Any) -> None:
        served = served_by(c.app)
        assert served is not None

        def new_connection() -> Connection:
            return connect(c.app.conf.broker_read_url or c.app.conf.broker_url, served.settings)

        on_cancel = partial(self._on_cancel, c)
        self._inbox = control_inbox(
            served.topology.control, new_connection, on_cancel, served.settings.max_message_bytes
        )
        self._inbox.start()

    def _on_cancel(self, c: Any, key: Key) -> None:
        cancelled.add(key)
        c.call_soon(_revoke, c.pool, call_id(key))
        tell_processes(key)

    def stop(self, c: Any) -> None:
        inbox, self._inbox = self._inbox, None
        if inbox is not None:
            inbox.close()

    shutdown = stop


def _revoke(pool: Any, task_id: str) -> None:
    """In the consumer's thread: the call never starts; its process is ended if it runs and its tool allows that."""
    revoked.add(task_id)
    for request in list(active_requests):
        options = getattr(request.task, "mcp_tool", None) if request.id == task_id else None
        if options is not None and options.terminate:
            request.terminate(pool)


_directory: Path | None = None


def make_directory() -> None:
    """The folder of this worker's sockets; made before its pool forks, so that all processes know it."""
    global _directory  # noqa: PLW0603  one worker, one folder
    if _directory is None:
        path, owner = Path(tempfile.mkdtemp(prefix="asyncmcp-")), os.getpid()
        _directory = path

        def remove(**_: Any) -> None:
            global _directory  # noqa: PLW0603
            if os.getpid() == owner:
                shutil.rmtree(path, ignore_errors=True)
                _directory = None

        worker_shutdown.connect(remove, weak=False)


def tell_processes(key: Key) -> None:
    """Tell every process of this worker that the call is cancelled; one that is gone is no error."""
    if _directory is None:
        return
    datagram = json.dumps(key).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        for path in _directory.glob("*.sock"):
            try:
                sender.sendto(datagram, str(path))
            except (ConnectionRefusedError, FileNotFoundError):
                path.unlink(missing_ok=True)
            except OSError as error:
                logger.warning("a process of the pool could not be told of a cancellation: %s", error)


@contextlib.asynccontextmanager
async def hear_cancellations(on_cancel: Callable[[Key], None]) -> AsyncGenerator[None]:
    """While entered, `on_cancel` is called in this event loop with what the worker tells its processes."""
    if _directory is None:  # a process that is no worker's
        yield
        return
    path = _directory / f"{os.getpid()}-{id(on_cancel):x}.sock"
    async with await anyio.create_unix_datagram_socket(local_path=path) as receiver:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_hear, receiver, on_cancel)
                yield
                tasks.cancel_scope.cancel()
        finally:
            path.unlink(missing_ok=True)


async def _hear(receiver: anyio.abc.UNIXDatagramSocket, on_cancel: Callable[[Key], None]) -> None:
    async for datagram, _ in receiver:
        client_id, request_id = json.loads(datagram)
        on_cancel((client_id, request_id))
