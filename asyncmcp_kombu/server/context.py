"""What a handler sends while it serves a request: the SDK's `DispatchContext` and `Outbound` over a queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, get_args

import anyio
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.message import MessageMetadata, ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import LoggingLevel, ProgressToken, RequestId

from asyncmcp_kombu.broker.threads import wait_for
from asyncmcp_kombu.envelope import CLOSE_STREAM, Envelope, compose
from asyncmcp_kombu.server.back_channel import BackChannel
from asyncmcp_kombu.server.replies import Publish, Reply

_LEVELS: tuple[LoggingLevel, ...] = get_args(LoggingLevel)  # in order of severity


def _nothing_more(method: str) -> None:
    return


@dataclass(slots=True, kw_only=True)
class QueueDispatchContext:
    """The SDK's `DispatchContext` for one request: what belongs to it goes to its reply address.

    Attributes:
        back_channel: for requests to the client; None where the protocol version has none.
        log_level: what the client asked for with `logging/setLevel`.
        on_sent: called with the method of each notification that the broker has accepted.
    """

    replies: Reply
    request_id: RequestId | None
    progress_token: ProgressToken | None
    back_channel: BackChannel | None = None
    log_level: LoggingLevel | None = None
    on_sent: Callable[[str], None] = _nothing_more
    cancel_requested: anyio.Event = field(default_factory=anyio.Event)
    finished: bool = False

    @property
    def message_metadata(self) -> MessageMetadata:
        if self.back_channel is None:
            return None
        return ServerMessageMetadata(close_sse_stream=partial(self.notify, CLOSE_STREAM, None))

    @property
    def transport(self) -> TransportContext:
        return TransportContext(kind="kombu", can_send_request=self.back_channel is not None)

    @property
    def can_send_request(self) -> bool:
        return self.back_channel is not None and not self.finished

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Ask the client, in the handshake versions; since 2026-07-28 a server returns `InputRequiredResult`."""
        if self.back_channel is None or self.finished:
            raise NoBackChannelError(method)
        return await self.back_channel.ask(self.replies.send, method, params, opts)

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        """Returns when the broker has accepted the notification; does nothing once the request is answered."""
        if not self.finished and _wanted(method, params, self.log_level):
            await wait_for(self.replies.notify(method, params))
            self.on_sent(method)

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        if self.progress_token is None:
            return
        params: dict[str, Any] = {"progressToken": self.progress_token, "progress": progress}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = message
        await self.notify("notifications/progress", params)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOutbound:
    """The SDK's `Outbound` for what belongs to no request of the client. It outlives the request that made it."""

    client: Envelope
    publish: Publish
    back_channel: BackChannel
    log_level: LoggingLevel | None = None

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        if self.client.reply_to is None:
            raise NoBackChannelError(method)
        return await self.back_channel.ask(self._send, method, params, opts)

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        if self.client.reply_to is not None and _wanted(method, params, self.log_level):
            message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
            if params is not None:
                message["params"] = dict(params)
            await wait_for(self._send(message, None))

    def _send(self, message: Mapping[str, Any], reply_to: str | None) -> Future[None]:
        assert self.client.reply_to is not None
        envelope = compose(
            message, client_id=self.client.client_id, session_id=self.client.session_id, reply_to=reply_to
        )
        return self.publish(self.client.reply_to, envelope)


def _wanted(method: str, params: Mapping[str, Any] | None, log_level: LoggingLevel | None) -> bool:
    """Whether a log message is as severe as the client asked for; everything else is wanted."""
    if method != "notifications/message" or log_level is None:
        return True
    level = (params or {}).get("level")
    return level not in _LEVELS or _LEVELS.index(level) >= _LEVELS.index(log_level)
