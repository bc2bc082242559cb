"""An AWS endpoint in front of the engine whose credentials can expire: it then answers as AWS does."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_NOT_FORWARDED = {"connection", "transfer-encoding", "content-length", "date", "server"}


class Endpoint(ThreadingHTTPServer):
    daemon_threads = True
    port: int

    def __init__(self, target: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target, self.expired, self.refused = target, threading.Event(), threading.Semaphore(0)
        self.port = self.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Endpoint

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.expired.is_set():
            self.server.refused.release()
            told = {"__type": "com.amazon.coral.service#ExpiredTokenException", "message": "The token has expired"}
            self._answer(403, [("Content-Type", "application/x-amz-json-1.0")], json.dumps(told).encode())
            return
        engine = http.client.HTTPConnection("127.0.0.1", self.server.target, timeout=60)
        try:
            engine.request("POST", self.path, body, dict(self.headers))
            answer = engine.getresponse()
            self._answer(answer.status, answer.getheaders(), answer.read())
        finally:
            engine.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _NOT_FORWARDED:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def endpoint(target: int) -> Iterator[Endpoint]:
    """In front of 127.0.0.1:`target`; its `expired` says whether credentials are."""
    with Endpoint(target) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
