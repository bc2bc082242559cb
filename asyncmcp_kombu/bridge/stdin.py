"""Lines: standard input for the SDK's `stdio_server`, read in a daemon thread.

The SDK reads in a worker thread that cannot be interrupted: after SIGTERM or Ctrl-C the process would stay until its
host writes another line. A daemon thread that hangs in `os.read` holds nobody up.
"""

from __future__ import annotations

import logging
import os
import threading

import anyio

from asyncmcp_kombu.broker.threads import call_soon

logger = logging.getLogger(__name__)

_CHUNK = 65_536
_MOST_UNREAD = 64
"""Lines that are read ahead; then the thread waits, and the pipe holds up the host."""


class Lines:
    """What is read from a file descriptor, line by line, until its end.

    Args:
        fd: the descriptor; stays open.

    Attributes:
        ended: set when the other side has closed.
    """

    def __init__(self, fd: int) -> None:
        self._fd, self.ended = fd, anyio.Event()
        self._into, self._lines = anyio.create_memory_object_stream[str](_MOST_UNREAD + 1)
        self._room = threading.Semaphore(_MOST_UNREAD)
        self._soon = call_soon()
        threading.Thread(target=self._read, name="bridge-stdin", daemon=True).start()

    def __aiter__(self) -> Lines:
        return self

    async def __anext__(self) -> str:
        try:
            line = await self._lines.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None
        self._room.release()
        return line

    def _read(self) -> None:
        rest = b""
        try:
            while chunk := self._chunk():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._hand_over(line)
            if rest:
                self._hand_over(rest)
            self._soon(self._end)
        except RuntimeError:  # the event loop is closed: nobody reads any more
            return

    def _chunk(self) -> bytes:
        try:
            return os.read(self._fd, _CHUNK)
        except OSError as error:
            logger.warning("standard input cannot be read: %s", error)
            return b""

    def _hand_over(self, line: bytes) -> None:
        self._room.acquire()
        self._soon(lambda: self._into.send_nowait(line.decode("utf-8", errors="replace")))

    def _end(self) -> None:
        self._into.close()
        self.ended.set()
