"""The bridge over Streamable HTTP: a Starlette app around the SDK's session manager, served by uvicorn."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Generator, Iterable
from typing import Any

import anyio
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.streamable_http import EventStore
from mcp.server.streamable_http_manager import (
    DEFAULT_MAX_REQUEST_BODY_SIZE,
    StreamableHTTPASGIApp,
    StreamableHTTPSessionManager,
)
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from asyncmcp_kombu.bridge.auth import authentication, requiring_authentication
from asyncmcp_kombu.bridge.events import RecentEvents
from asyncmcp_kombu.bridge.forward import Bridge
from asyncmcp_kombu.errors import ConfigurationError

DEFAULT_PATH = "/mcp"
RETRY_INTERVAL = 1_000
"""Milliseconds after which a client whose stream broke is told to come back."""
_ANSWERING = 0.5
"""Seconds in which callers get their errors when the bridge is stopped."""


def bridge_app(
    bridge: Bridge,
    *,
    path: str = DEFAULT_PATH,
    security: TransportSecuritySettings | None = None,
    token: SecretStr | None = None,
    cors_origins: Iterable[str] = (),
    new_event_store: Callable[[], EventStore] | None = RecentEvents,
    retry_interval: int | None = RETRY_INTERVAL,
) -> Starlette:
    """The ASGI app; its lifespan connects to the broker.

    Args:
        bridge: the forwarder.
        path: where MCP is served.
        security: which `Host` and `Origin` headers are accepted; None accepts all.
        token: what callers must send as `Authorization: Bearer …`.
        cors_origins: web pages of these origins may call.
        new_event_store: makes the store of one session, by which its streams can be resumed; None: they cannot.
        retry_interval: milliseconds, sent to clients that can resume.
    """
    manager = _SessionManager(
        bridge.server,
        new_event_store,
        security_settings=security,
        retry_interval=retry_interval,
        # Larger than what the broker takes: such a request gets an error that names both sizes and the setting.
        max_request_body_size=max(DEFAULT_MAX_REQUEST_BODY_SIZE, 2 * bridge.settings.max_message_bytes),
    )
    endpoint: ASGIApp = StreamableHTTPASGIApp(manager)
    middleware: list[Middleware] = []
    if origins := list(cors_origins):  # outermost: a browser asks beforehand, without the token
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=origins,
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=["*"],
                expose_headers=["Mcp-Session-Id", "WWW-Authenticate"],
            )
        )
    if token is not None:
        middleware.append(authentication(token))
        endpoint = requiring_authentication(endpoint)
    app = Starlette(routes=[Route(path, endpoint=endpoint)], middleware=middleware, lifespan=lambda _: manager.run())
    app.state.bridge = bridge
    return app


class _SessionManager(StreamableHTTPSessionManager):
    """The SDK's, which reads `event_store` once for each session it opens: each gets a store of its own."""

    def __init__(self, app: Server[Any], new_event_store: Callable[[], EventStore] | None, **options: Any) -> None:
        self._new_event_store = new_event_store
        super().__init__(app, **options)

    @property
    def event_store(self) -> EventStore | None:
        return None if self._new_event_store is None else self._new_event_store()

    @event_store.setter
    def event_store(self, _: EventStore | None) -> None:
        """The base class sets what it was not given."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 picks a free one.

    Raises:
        ConfigurationError: it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(f"cannot listen on {host}, port {port}: {error}; choose another --http PORT") from None
    # Inherited by connections. asyncio sets it only on sockets whose protocol number says TCP, which those of
    # `create_server` do not (Python 3.11); without it each answer waits 40 ms for the client's kernel.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


async def serve_http(app: Starlette, sock: socket.socket, stop: anyio.Event, ready: Callable[[], None]) -> None:
    """Serve until `stop` is set; then callers get an error, requests are cancelled on the far side, streams end.

    Raises:
        BrokerUnreachable: the broker cannot be reached at the start; `ready` has not been called then.
    """
    gate = _Gate(app)
    config = uvicorn.Config(
        gate,
        lifespan="off",  # entered here, so that its errors are ours to tell
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    # The group outlives the lifespan: uvicorn waits for answers after the sessions and their streams have ended.
    async with anyio.create_task_group() as tasks:  # noqa: SIM117
        async with app.router.lifespan_context(app):
            tasks.start_soon(server.serve, [sock])
            ready()
            await stop.wait()
            server.should_exit = True
            gate.shut()
            app.state.bridge.stop()
            with anyio.move_on_after(_ANSWERING):
                await gate.all_answered()


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: it would raise the signal anew when done, and skip our clean-up."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class _Gate:
    """Counts the requests that are being answered, and refuses further ones once it is shut."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._open = app, True
        self._answering = 0
        self._idle = anyio.Event()

    def shut(self) -> None:
        self._open = False
        self._tell()

    async def all_answered(self) -> None:
        await self._idle.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._open:
            await send({"type": "http.response.start", "status": 503, "headers": [(b"connection", b"close")]})
            await send({"type": "http.response.body", "body": b"the bridge is being stopped"})
            return
        counts = scope.get("method") == "POST"  # a GET stream ends with its session
        self._answering += counts
        try:
            await self._app(scope, receive, send)
        finally:
            self._answering -= counts
            self._tell()

    def _tell(self) -> None:
        if not self._open and not self._answering:
            self._idle.set()
