"""ministack on HOST PORT, made fit for calls that wait in a long poll.

Three habits of ministack 1.4.21 (1.5.33 has them too) are changed here:

- A long poll looks for messages every 100 ms, so a request and its reply took 150 ms. Now it looks whenever the
  engine has carried out a request, and every 100 ms for what else happens (a lease that lapses).
- A client that goes away leaves its long poll behind, which swallows the next message until the visibility
  timeout: after restarting a worker, the first call hung. Now the poll ends with its connection.
- Its command waits 3 s for open polls when it stops, and leaves a PID file when killed. Here it does neither.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Bell:
    """The module asyncio as ministack's SQS sees it: its sleeps end when the bell rings."""

    def __init__(self) -> None:
        self._asleep: set[asyncio.Future[None]] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    def ring(self) -> None:
        for sleeper in self._asleep:
            if not sleeper.done():
                sleeper.set_result(None)

    async def sleep(self, delay: float) -> None:
        sleeper = asyncio.get_running_loop().create_future()
        self._asleep.add(sleeper)
        try:
            await asyncio.wait((sleeper,), timeout=delay)
        finally:
            self._asleep.discard(sleeper)


def rings(app: App, bell: Bell) -> App:
    """`app`, which rings the bell before it answers: a message may have come, or gone back to its queue."""

    async def wrapped(scope: Message, receive: Receive, send: Send) -> None:
        async def send_and_ring(message: Message) -> None:
            if message["type"] == "http.response.start":
                bell.ring()
            await send(message)

        await app(scope, receive, send_and_ring)

    return wrapped


def ends_with_connection(app: App) -> App:
    """`app`, whose work on a request is cancelled when the client closes the connection."""

    async def wrapped(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        inbox: asyncio.Queue[Message] = asyncio.Queue()

        async def connection() -> None:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                inbox.put_nowait(message)

        answer = asyncio.ensure_future(app(scope, inbox.get, send))
        gone = asyncio.ensure_future(connection())
        try:
            await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            answer.cancel()
            gone.cancel()
            await asyncio.gather(answer, gone, return_exceptions=True)
        if not answer.cancelled():
            answer.result()

    return wrapped


def main(host: str, port: str) -> None:
    gateway = importlib.import_module("ministack.app")
    bell = Bell()
    vars(importlib.import_module("ministack.services.sqs"))["asyncio"] = bell
    config = importlib.import_module("hypercorn.config").Config()
    config.bind = [f"{host}:{port}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 0.2
    config.loglevel = "WARNING"
    asyncio.run(
        importlib.import_module("hypercorn.asyncio").serve(ends_with_connection(rings(gateway.app, bell)), config)
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
