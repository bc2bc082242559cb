"""A stand-in for SQS: a fixed delay before each API request, unlimited parallelism, long polls that return at once.

So that the library is measured and not a simulator. It speaks the AWS JSON protocol as far as botocore uses it for
SQS, and just enough of SNS for a worker to bind its control queue. It runs in a process of its own
(`python -m benchmarks.engines.standin PORT DELAY_MS`), counts API requests by kind, and tells them on `GET /counts`;
`GET /reset` begins anew; `GET /waiting` says how many messages wait.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import sys
from collections import Counter
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from benchmarks.engines.queues import MissingQueueError, Queues, Waiter
from benchmarks.engines.topics import Topics

_HEAD_END = b"\r\n\r\n"


class Service:
    """The queues, the topics and the counts that all connections share."""

    def __init__(self, port: int, delay: float) -> None:
        self.delay = delay
        self.queues = Queues(f"http://127.0.0.1:{port}/000000000000/")
        self.topics = Topics(self.queues)
        self.counts: Counter[str] = Counter()


class Connection(asyncio.Protocol):
    """One keep-alive HTTP connection; botocore never pipelines."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._buffer = b""
        self._transport: Any = None
        self._waiter: Waiter | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter is not None:
            self._waiter.cancel()
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(_HEAD_END)
        if end < 0:
            return
        head = self._buffer[:end].decode("latin-1")
        lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length = int(headers.get("content-length", 0))
        start = end + len(_HEAD_END)
        if len(self._buffer) - start < length:
            return
        body, self._buffer = self._buffer[start : start + length], self._buffer[start + length :]
        self._request(lines[0].split(" ")[1], headers.get("x-amz-target", ""), body)

    def _request(self, path: str, target: str, body: bytes) -> None:
        service = self._service
        if path == "/counts":
            self._respond(200, json.dumps(service.counts).encode())
        elif path == "/waiting":
            self._respond(200, json.dumps({"messages": service.queues.waiting}).encode())
        elif path == "/reset":
            service.counts.clear()
            self._respond(200, b"{}")
        elif target:
            action = target.rpartition(".")[2]
            service.counts[action] += 1
            asyncio.get_running_loop().call_later(service.delay, self._queue_action, action, body)
        else:
            fields = {key: values[0] for key, values in parse_qs(body.decode()).items()}
            service.counts[f"sns:{fields['Action']}"] += 1
            asyncio.get_running_loop().call_later(service.delay, self._topic_action, fields)

    def _queue_action(self, action: str, body: bytes) -> None:
        if self._transport is None:
            return
        request = json.loads(body or b"{}")
        try:
            if action == "ReceiveMessage":
                self._waiter = self._service.queues.receive(request, self._received)
                return
            answer = self._service.queues.act(action, request)
        except MissingQueueError as error:
            fault = {"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": str(error)}
            self._respond(400, json.dumps(fault).encode())
            return
        self._respond(200, json.dumps(answer).encode())

    def _received(self, answer: dict[str, Any]) -> None:
        self._waiter = None
        self._respond(200, json.dumps(answer).encode())

    def _topic_action(self, fields: dict[str, str]) -> None:
        action = fields["Action"]
        result = self._service.topics.act(action, fields)
        text = f"<{action}Response><{action}Result>{result}</{action}Result></{action}Response>"
        self._respond(200, text.encode(), "text/xml")

    def _respond(self, status: int, body: bytes, kind: str = "application/x-amz-json-1.0") -> None:
        if self._transport is not None:
            head = f"HTTP/1.1 {status} OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
            self._transport.write(head.encode() + body)


async def serve(port: int, delay: float) -> None:
    """Serve on loopback until cancelled. `delay` is in seconds, before each API request is carried out."""
    service = Service(port, delay)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(service), "127.0.0.1", port, backlog=512)
    async with server:
        while True:
            await asyncio.sleep(0.1)
            service.queues.give_back_lapsed()


if __name__ == "__main__":
    # epoll, the usual selector, counts whole milliseconds: a delay of 10 would be one of 11.
    precise = partial(asyncio.SelectorEventLoop, selectors.SelectSelector())
    with asyncio.Runner(loop_factory=precise) as runner:
        runner.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1_000))
