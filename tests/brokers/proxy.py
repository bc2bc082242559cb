"""A TCP proxy in front of a broker: it can cut connections, at once or inside a response, refuse new ones, or swallow
all that is sent."""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import suppress


class Proxy:
    """Forwards 127.0.0.1:`port` to `target` until closed."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._refusing, self._flowing = threading.Event(), threading.Event()
        self._flowing.set()
        self._cut_after: int | None = None
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break what is connected; refuse what is new."""
        self._refusing.set()
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def break_off(self, after: int = 20) -> None:
        """Let only so many bytes of the next response through, and then cut its connection."""
        self._cut_after = after

    def swallow(self) -> None:
        """A black hole: connections stay open, and nothing comes through any more."""
        self._flowing.clear()

    def restore(self) -> None:
        self._refusing.clear()
        self._flowing.set()

    def close(self) -> None:
        self._flowing.set()
        self.cut()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                inner, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing.is_set():
                inner.close()
                continue
            try:
                outer = socket.create_connection(("127.0.0.1", self._target))
            except OSError:  # the broker itself is away
                inner.close()
                continue
            with self._lock:
                self._pairs.append((inner, outer))
            threading.Thread(target=self._pump, args=(inner, outer), daemon=True).start()

    def _pump(self, inner: socket.socket, outer: socket.socket) -> None:
        with selectors.DefaultSelector() as selector, suppress(OSError):
            selector.register(inner, selectors.EVENT_READ, outer)
            selector.register(outer, selectors.EVENT_READ, inner)
            while True:
                for key, _ in selector.select():
                    data = key.fileobj.recv(65_536)  # type: ignore[union-attr]
                    if not data:
                        inner.close()
                        outer.close()
                        return
                    self._flowing.wait()
                    if key.fileobj is outer and self._cut_after is not None:
                        after, self._cut_after = self._cut_after, None
                        key.data.sendall(data[:after])
                        inner.close()
                        outer.close()
                        return
                    key.data.sendall(data)
        inner.close()
        outer.close()
