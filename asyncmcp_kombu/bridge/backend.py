"""Backend: one connection of the bridge to the queue, with its own request ids.

All 2026-07-28 requests share one; a handshake-era session has one to itself, because the far side knows a session by
its connection. All connections of a process share one reply queue, so that one more costs two tasks.

Requests are numbered `r1`, `r2`, …: text that is not a number comes back from a message attribute as it went.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from typing import Any, cast

import anyio
import anyio.abc
from mcp.shared.dispatcher import CallOptions, DispatchContext, Outbound
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.message import CloseSSEStreamCallback
from mcp_types.jsonrpc import INVALID_REQUEST, RequestId

from asyncmcp_kombu.bridge.relay import Relay
from asyncmcp_kombu.bridge.streams import Arrivals, Departures, Observe, Relays, related_request
from asyncmcp_kombu.client.sending import QueueWriteStream
from asyncmcp_kombu.client.transport import kombu_client
from asyncmcp_kombu.envelope import CLOSE_STREAM
from asyncmcp_kombu.settings import Settings

logger = logging.getLogger(__name__)


class Backend:
    """One connection to the queue. `run` is started in a task; `close` ends it.

    Args:
        settings: where the queue is.
        standalone: the way to the client for what belongs to no request; None where there is none.
        observe: hears of every notification.
    """

    def __init__(self, settings: Settings, standalone: Outbound | None, observe: Observe) -> None:
        self._settings, self._standalone, self._observe = settings, standalone, observe
        self._relays: Relays = {}
        self._ids = itertools.count(1)
        self._scope, self._ended = anyio.CancelScope(), anyio.Event()
        self._dispatcher: JSONRPCDispatcher[Any] | None = None

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Connect, and serve until closed or cancelled.

        Raises:
            BrokerUnreachable: the broker cannot be reached, before `task_status.started()`.
        """
        try:
            with self._scope:
                async with kombu_client(settings=self._settings) as (read, write):
                    cast(QueueWriteStream, write).session.on_close_stream = self._close_stream
                    arrivals = Arrivals(read, self._relays, self._observe)
                    self._dispatcher = JSONRPCDispatcher(arrivals, Departures(write, self._relays))
                    await self._dispatcher.run(self._on_request, self._on_notify, task_status=task_status)
        finally:
            self._ended.set()

    async def request(
        self,
        method: str,
        params: Mapping[str, Any] | None,
        caller_id: RequestId,
        caller: Outbound,
        silence: float,
        close_stream: CloseSSEStreamCallback | None = None,
    ) -> dict[str, Any]:
        """Forward a request, relay what comes for it, return its result. Cancelling this cancels it over there.

        Raises:
            MCPError: the far side's own error; or `stop` was called.
            NothingHeard: nothing came for `silence` seconds.
            BrokerUnreachable, PublishError, MessageTooLarge: the request was not accepted by the broker.
        """
        request_id = f"r{next(self._ids)}"
        relay = self._relays[request_id] = Relay(request_id, caller_id, caller, silence, close_stream)
        options: CallOptions = {"request_id": request_id, "cancel_on_abandon": method != "initialize"}

        async def ask() -> dict[str, Any]:
            assert self._dispatcher is not None
            return await self._dispatcher.send_raw_request(method, params, options)

        try:
            return await relay.run(ask)
        finally:
            del self._relays[request_id]

    async def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        """Forward a notification of the client. Fire and forget."""
        assert self._dispatcher is not None
        await self._dispatcher.notify(method, params)

    def stop(self, why: MCPError) -> None:
        """Cancel all requests on the far side; their callers get `why`."""
        for relay in list(self._relays.values()):
            relay.stop(why)

    async def close(self) -> None:
        """End the connection, and wait until it has ended."""
        self._scope.cancel()
        await self._ended.wait()

    def _close_stream(self, request_id: RequestId) -> None:
        """A handler wants the HTTP stream of its request closed."""
        if request_id in self._relays:
            self._relays[request_id].put(CLOSE_STREAM, None)

    async def _on_request(
        self, dctx: DispatchContext[Any], method: str, params: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """A request of the far side: sent on where the request that it belongs to came from."""
        related = related_request(dctx.message_metadata)
        if related is not None:
            if related not in self._relays:
                raise MCPError(INVALID_REQUEST, f"the request that {method} belongs to has ended")
            return await self._relays[related].ask(method, params)
        if self._standalone is None:
            raise NoBackChannelError(method)
        return await self._standalone.send_raw_request(method, params)

    async def _on_notify(self, dctx: DispatchContext[Any], method: str, params: Mapping[str, Any] | None) -> None:
        """A notification that belongs to no request."""
        if method == "notifications/cancelled":
            return  # of a request of the far side: the dispatcher has cancelled it, and with it ours to the client
        if self._standalone is None:
            logger.debug("dropped %s: it belongs to no request, and the connection to no session", method)
            return
        await self._standalone.notify(method, params)
