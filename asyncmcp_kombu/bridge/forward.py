"""Bridge: the forwarder, the same for stdio and HTTP: an SDK server that sends everything on to the queue.

It is one middleware of a low-level `Server` and never calls the next one. The SDK serves the client's side (eras,
sessions, streams, header checks, cancellation); parameters, results and errors pass through as they are.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc
from mcp.server.context import CallNext, HandlerResult
from mcp.server.lowlevel import Server
from mcp.shared.dispatcher import Outbound
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_METHOD_HEADER
from mcp_types import ListToolsResult, PaginatedRequestParams
from mcp_types.jsonrpc import CONNECTION_CLOSED, METHOD_NOT_FOUND, REQUEST_TIMEOUT, ErrorData
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from asyncmcp_kombu.bridge.backend import Backend
from asyncmcp_kombu.bridge.headers import check_task_id
from asyncmcp_kombu.bridge.listings import Listings
from asyncmcp_kombu.bridge.relay import NothingHeard
from asyncmcp_kombu.bridge.sdk import Context, connection_of, request_channel
from asyncmcp_kombu.broker.connection import scheme_of
from asyncmcp_kombu.errors import AsyncMcpError, BrokerUnreachable
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.topology import Topology

logger = logging.getLogger(__name__)

DEFAULT_TIMEOUT = 300.0
QUICK_TIMEOUT = 25.0
"""Seconds for requests that run no tool: hosts give up opening a server after 30 to 60 s, and would then show their
own words instead of ours, which say what to do."""
_QUICK = frozenset(
    {
        *("initialize", "server/discover", "ping", "logging/setLevel"),
        *("tools/list", "prompts/list", "resources/list", "resources/templates/list"),
    }
)
_CHECK_TIMEOUT = 10.0
"""Seconds for the listing behind a header check; without it the call goes on unchecked, as the SDK has it."""
_STATE = "asyncmcp_kombu.bridge"


class Bridge:
    """`server` answers every request with what the queue's server answers.

    Args:
        settings: where the queue is.
        timeout: seconds of silence (no answer, no progress, no log message) after which a call is given up.

    Raises:
        ConfigurationError: the broker URL's scheme or a name cannot be used.
    """

    def __init__(self, settings: Settings, timeout: float = DEFAULT_TIMEOUT) -> None:
        scheme_of(settings.broker_url.get_secret_value())
        Topology(settings.server, settings.prefix)
        self.settings, self.timeout = settings, timeout
        self.server: Server[Any] = Server("bridge", lifespan=self._connected, on_list_tools=_never_called)
        self.server.middleware.append(self._forward)
        self._listings = Listings()
        self._backends: set[Backend] = set()

    @property
    def connections(self) -> int:
        """Connections to the queue: one for all 2026-07-28 requests, and one for each handshake-era session."""
        return len(self._backends)

    def stop(self) -> None:
        """Cancel what is under way on the far side; the callers get an error."""
        for backend in list(self._backends):
            backend.stop(MCPError(CONNECTION_CLOSED, "the bridge is being stopped; the request was cancelled"))

    @asynccontextmanager
    async def _connected(self, _: Server[Any]) -> AsyncGenerator[dict[str, Any]]:
        """The server's lifespan. Raises BrokerUnreachable at the start."""
        async with anyio.create_task_group() as self._tasks:
            self._shared = await self._open(None)
            try:
                yield {}
            finally:
                self._tasks.cancel_scope.cancel()

    async def _open(self, standalone: Outbound | None) -> Backend:
        backend = Backend(self.settings, standalone, self._observe)

        async def run(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            self._backends.add(backend)
            try:
                await backend.run(task_status=task_status)
            finally:
                self._backends.discard(backend)

        await self._tasks.start(run)
        return backend

    async def _backend(self, ctx: Context) -> Backend:
        """The connection for this request; of a handshake-era session its own, opened when it is first needed."""
        if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return self._shared
        connection = connection_of(ctx)
        opening: anyio.Lock = connection.state.setdefault(f"{_STATE}.opening", anyio.Lock())
        async with opening:
            backend: Backend | None = connection.state.get(_STATE)
            if backend is None:
                backend = connection.state[_STATE] = await self._open(connection.outbound)
                connection.exit_stack.push_async_callback(backend.close)
        return backend

    async def _forward(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """The middleware: a result or error of the far side for a request; nothing for a notification."""
        if ctx.request_id is None:
            # A cancellation has ended `_request` already, which cancels its own request over there. Progress, of
            # what the far side asked the client for, bears the far side's own token.
            if ctx.method != "notifications/cancelled":
                await (await self._backend(ctx)).notify(ctx.method, ctx.params)
            return None
        if ctx.method == "initialize" and ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
            # The version header says so; the far side would take it for the handshake that it is elsewhere.
            raise MCPError(METHOD_NOT_FOUND, "Method not found", ctx.method)
        check_task_id(ctx)
        if _is_header_check(ctx):
            return await self._listings.get(ctx.params, lambda: self._request(ctx, min(self.timeout, _CHECK_TIMEOUT)))
        result = await self._request(ctx, self._patience(ctx.method))
        if ctx.method == "tools/list" and ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
            self._listings.remember(ctx.params, result)
        return result

    async def _request(self, ctx: Context, silence: float) -> dict[str, Any]:
        assert ctx.request_id is not None
        try:
            backend = await self._backend(ctx)
            return await backend.request(
                ctx.method, ctx.params, ctx.request_id, request_channel(ctx), silence, ctx.close_sse_stream
            )
        except AsyncMcpError as error:
            logger.warning("%s was not sent: %s", ctx.method, error)
            raise MCPError.from_error_data(_for_the_caller(error)) from None
        except NothingHeard:
            text = (
                f"server {self.settings.server!r} gave no sign of life for {silence:g} s after {ctx.method}. Is it "
                "running (celery -A workers worker)? Is its name right (the bridge's --server)? A tool that is "
                "silent for so long should report progress, or the bridge be given a larger --timeout"
            )
            logger.warning(text)
            raise MCPError(REQUEST_TIMEOUT, text, {"reason": "no-answer"}) from None

    def _patience(self, method: str) -> float:
        if method == "subscriptions/listen":
            return math.inf  # silent for as long as nothing changes
        return min(self.timeout, QUICK_TIMEOUT) if method in _QUICK else self.timeout

    def _observe(self, method: str) -> None:
        if method == "notifications/tools/list_changed":
            self._listings.clear()


def _is_header_check(ctx: Context) -> bool:
    """Whether it is the SDK that asks, to check the headers of a call: the HTTP request is another one's."""
    return (
        ctx.method == "tools/list"
        and ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        and ctx.request is not None
        and ctx.request.headers.get(MCP_METHOD_HEADER) != ctx.method
    )


def _for_the_caller(error: AsyncMcpError) -> ErrorData:
    """An error of the bridge's own, without the broker's address, which is not every caller's business."""
    data = error.error_data()
    if isinstance(error, BrokerUnreachable):
        return data.model_copy(update={"message": "the bridge cannot reach its broker; its log says why. Try again"})
    return data


async def _never_called(ctx: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
    """The SDK checks `Mcp-Param-*` headers only for a server that lists tools. The middleware answers instead."""
    raise NotImplementedError
