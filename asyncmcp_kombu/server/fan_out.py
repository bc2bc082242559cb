"""Fan-out: what a server publishes on its `SubscriptionBus` reaches every listening client of the fleet.

The events go to the server's fan-out exchange as the notifications that they are; each client has its reply queue
bound to it, filters, and stamps them with its own subscriptions' ids.

Private names of mcp 2.3 used here: `ListenHandler._bus`, `MCPServer._subscriptions`. tests/server/test_fan_out.py
fails when one goes.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ServerEvent, SubscriptionBus
from mcp.shared.subscriptions import event_to_notification

from asyncmcp_kombu.broker.threads import wait_for
from asyncmcp_kombu.envelope import Envelope, compose
from asyncmcp_kombu.server.lowlevel import AnyServer
from asyncmcp_kombu.topology import EVERYONE

logger = logging.getLogger(__name__)

PublishToAll = Callable[[Envelope], Future[None]]
"""Publishes an envelope to the fan-out exchange; the future is done when the broker has accepted it."""


class FanOutBus:
    """The SDK's `SubscriptionBus` over the fan-out exchange.

    Listeners that subscribe here hear what this process publishes; clients hear what any process publishes.
    """

    def __init__(self, publish: PublishToAll) -> None:
        self._publish, self._local = publish, InMemorySubscriptionBus()

    async def publish(self, event: ServerEvent) -> None:
        """Returns when the broker has accepted the event.

        Raises:
            BrokerUnreachable, PublishError: it was not accepted.
        """
        await self._local.publish(event)
        await wait_for(self._publish(envelope_of(event)))

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        return self._local.subscribe(listener)


def envelope_of(event: ServerEvent) -> Envelope:
    """The event as it travels on the exchange: its notification, for everyone."""
    notification = event_to_notification(event, {}).model_dump(by_alias=True, mode="json", exclude_none=True)
    params = {key: value for key, value in (notification.get("params") or {}).items() if key != "_meta" or value}
    message = {"jsonrpc": "2.0", "method": notification["method"], **({"params": params} if params else {})}
    return compose(message, audience=EVERYONE)


def subscriptions_of(lowlevel: Server[Any]) -> SubscriptionBus | None:
    """The bus behind the server's `subscriptions/listen`; None when it has none, or serves it in a way of its own."""
    handler = _listen_handler(lowlevel)
    return None if handler is None else handler._bus  # pyright: ignore[reportPrivateUsage]


@contextmanager
def fan_out(server: AnyServer, lowlevel: Server[Any], publish: PublishToAll) -> Generator[bool]:
    """While entered, the server's events go to the exchange. Enter it once per process.

    Yields False when the server's subscriptions are its author's own affair: it has none, or a bus over some other
    backend.
    """
    handler = _listen_handler(lowlevel)
    own = subscriptions_of(lowlevel)
    if handler is None or not isinstance(own, InMemorySubscriptionBus):
        yield False
        return
    _use(server, handler, FanOutBus(publish))
    # Its author may hold the bus, and publish there.
    unsubscribe = own.subscribe(lambda event: _forward(publish(envelope_of(event))))
    try:
        yield True
    finally:
        unsubscribe()
        _use(server, handler, own)


def _listen_handler(lowlevel: Server[Any]) -> ListenHandler | None:
    """The SDK's handler, also where something was put around it (`functools.wraps`), as the Tasks extension does."""
    entry = lowlevel.get_request_handler("subscriptions/listen")
    handler = None if entry is None else inspect.unwrap(entry.handler)
    return handler if isinstance(handler, ListenHandler) else None


def _use(server: AnyServer, handler: ListenHandler, bus: SubscriptionBus) -> None:
    handler._bus = bus  # pyright: ignore[reportPrivateUsage]
    if isinstance(server, MCPServer):
        server._subscriptions = bus  # pyright: ignore[reportPrivateUsage]


def _forward(published: Future[None]) -> None:
    def look(future: Future[None]) -> None:
        error = future.exception()
        if error is not None:
            logger.error("an event could not be published: %s", error)

    published.add_done_callback(look)
