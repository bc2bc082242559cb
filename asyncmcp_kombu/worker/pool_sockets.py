"""Pool sockets: how a worker's main process tells the processes of its pool that a call is cancelled.

Each of them hears a datagram socket in a folder of the worker's.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
from celery.signals import worker_shutdown

from asyncmcp_kombu.server.cancellation import Key

logger = logging.getLogger(__name__)

_PREFIX = "asyncmcp-worker-"
_ABANDONED = 3_600.0
"""Seconds since something changed in a folder after which it may be one that a killed worker has left."""
_directory: Path | None = None


def make_directory() -> None:
    """The folder of this worker's sockets; made before its pool forks, so that all processes know it."""
    global _directory  # noqa: PLW0603  one worker, one folder
    if _directory is None:
        path, owner = Path(tempfile.mkdtemp(prefix=_PREFIX)), os.getpid()
        _remove_abandoned(path.parent)
        _directory = path

        def remove(**_: Any) -> None:
            global _directory  # noqa: PLW0603
            if os.getpid() == owner:
                shutil.rmtree(path, ignore_errors=True)
                _directory = None

        worker_shutdown.connect(remove, weak=False)


def _remove_abandoned(parent: Path) -> None:
    """Folders that workers left which were killed: nobody listens there. An empty one may be of a worker that idles."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody else's, or gone meanwhile
            old, sockets = time.time() - folder.stat().st_mtime > _ABANDONED, list(folder.iterdir())
            if old and sockets and not any(map(_is_heard, sockets)):
                shutil.rmtree(folder)


def _is_heard(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
    return True


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
    await anyio.Path(_directory).mkdir(mode=0o700, exist_ok=True)  # somebody may have tidied up
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
