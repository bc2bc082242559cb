"""What stands between the queue's transport and the SDK's dispatcher: Arrivals and Departures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import anyio
from anyio.abc import AsyncResource
from mcp.shared.dispatcher import as_request_id
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp_types.jsonrpc import JSONRPCNotification, JSONRPCRequest, RequestId

from asyncmcp_kombu.bridge.relay import Relay
from asyncmcp_kombu.bridge.sdk import ReadStream, WriteStream, gives_up_after

logger = logging.getLogger(__name__)

Relays = dict[RequestId, Relay]
Observe = Callable[[str], None]
"""Hears the method of every notification of the far side."""


class Arrivals(AsyncResource):
    """What the dispatcher reads: without the notifications that belong to a request, which go to its relay.

    Done while reading, in the order of arrival: the dispatcher would hand them to tasks of their own, and its
    progress callbacks would lose what they do not know.
    """

    def __init__(self, inner: ReadStream[SessionMessage | Exception], relays: Relays, observe: Observe) -> None:
        self._inner, self._relays, self._observe = inner, relays, observe

    async def receive(self) -> SessionMessage | Exception:
        while True:
            item = await self._inner.receive()
            if not isinstance(item, SessionMessage) or not isinstance(item.message, JSONRPCNotification):
                return item
            self._observe(item.message.method)
            related = related_request(item.metadata) or _subscription(item.message.params)
            if related is None or item.message.method == "notifications/cancelled":
                return item
            if related in self._relays:
                self._relays[related].put(item.message.method, item.message.params)
            else:
                logger.debug("dropped %s for request %s, which has ended", item.message.method, related)

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __aiter__(self) -> Arrivals:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class Departures(AsyncResource):
    """What the dispatcher writes to: a request is sent with its deadline."""

    def __init__(self, inner: WriteStream[SessionMessage], relays: Relays) -> None:
        self._inner, self._relays = inner, relays

    async def send(self, item: SessionMessage, /) -> None:
        if isinstance(item.message, JSONRPCRequest):
            with gives_up_after(self._relays[item.message.id].silence):
                await self._inner.send(item)
        else:
            await self._inner.send(item)

    async def aclose(self) -> None:
        await self._inner.aclose()


def related_request(metadata: object) -> RequestId | None:
    """The request that a message of the far side belongs to, by what its transport noted."""
    return metadata.related_request_id if isinstance(metadata, ServerMessageMetadata) else None


def _subscription(params: Mapping[str, Any] | None) -> RequestId | None:
    """The `subscriptions/listen` request that an event belongs to, which names it itself."""
    meta = (params or {}).get("_meta")
    return as_request_id(meta.get(SUBSCRIPTION_ID_META_KEY)) if isinstance(meta, Mapping) else None
