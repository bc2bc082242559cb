"""Switchboard: many clients on the one connection that a stream pair is.

Every request gets an id of the connection's own, and what the server sends for it goes to the client that asked,
under the client's id. What the server asks gets an unguessable id, under which only that client can answer.
"""

from __future__ import annotations

import itertools
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import AsyncResource
from anyio.streams.memory import MemoryObjectSendStream
from kombu.connection import Connection
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp_types import PROTOCOL_VERSION_META_KEY, InitializeRequestParams, RequestId
from mcp_types.jsonrpc import (
    CONNECTION_CLOSED,
    INVALID_REQUEST,
    ErrorData,
    JSONRPCError,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

from asyncmcp_kombu.broker.threads import wait_for
from asyncmcp_kombu.envelope import Envelope, compose
from asyncmcp_kombu.errors import AsyncMcpError, QueueNotFound, SessionRefused
from asyncmcp_kombu.server.answers import Answers
from asyncmcp_kombu.server.cancellation import CANCELLED, Key, key_of
from asyncmcp_kombu.server.keys import secret_keys
from asyncmcp_kombu.server.reception import Reception
from asyncmcp_kombu.server.requests import ServedRequest, Settle
from asyncmcp_kombu.server.sessions import Sessions
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.topology import Routes, new_question

logger = logging.getLogger(__name__)

_CLIENTS_REMEMBERED = 1_000
"""Clients of a handshake that are sent what belongs to no request; the longest silent one is forgotten first."""


class Switchboard(AsyncResource):
    """The stream into which the SDK's server writes, and what its read stream is fed from."""

    def __init__(
        self,
        routes: Routes,
        settings: Settings,
        connect: Callable[[], Connection],
        into_server: MemoryObjectSendStream[SessionMessage | Exception],
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        self._into_server = into_server
        self._sessions = Sessions(routes.server, secret_keys(settings))
        self.reception = Reception(
            routes, settings, connect, self._sessions, self._take, self._cancel, self._answered, attributes
        )
        self._publisher = self.reception.publisher
        self._answers = Answers(routes, connect, self._answered, settings.max_message_bytes)
        self._shaken = False  # whether the SDK's connection has seen a handshake
        self._numbers = itertools.count(1)
        self._modern: bool | None = None  # the era, which the first request decides
        self._requests: dict[RequestId, ServedRequest] = {}
        self._numbered: dict[Key, RequestId] = {}
        self._asked: dict[str, RequestId] = {}
        self._handshaken: OrderedDict[str, Envelope] = OrderedDict()

    # --- from clients to the server ---

    def _take(self, envelope: Envelope, settle: Settle) -> None:
        if envelope.method == "initialize":
            self._shaken = True
        elif not (self._shaken or self._modern):
            self._repeat_handshake(envelope)
        if envelope.kind == "notification":
            self._feed(envelope.message)
            settle(True)
            return
        number = next(self._numbers)
        if self._modern is None:
            self._modern = _is_modern(envelope)
        request = self._requests[number] = ServedRequest(envelope, self._publisher, settle)
        key = key_of(envelope)
        if key is not None:
            self._numbered[key] = number
        if envelope.method == "initialize" and envelope.client_id is not None:
            self._handshaken[envelope.client_id] = envelope
            if len(self._handshaken) > _CLIENTS_REMEMBERED:
                self._handshaken.popitem(last=False)
        settled = partial(self._settled_unanswered, number, request)
        self._feed({**envelope.message, "id": number}, ServerMessageMetadata(on_request_unanswered=settled))

    def _repeat_handshake(self, envelope: Envelope) -> None:
        """Tell the SDK's connection of a handshake that another process of the server had, or this one before."""
        if envelope.session_id is None:
            return
        try:
            session = self._sessions.open(envelope)
        except SessionRefused:
            return  # the SDK says that there was no handshake
        self._shaken, self._modern = True, False
        params = session.client_params.model_dump(by_alias=True, exclude_none=True, mode="json")
        params["protocolVersion"] = session.protocol_version
        number = next(self._numbers)  # its answer is nobody's
        self._feed({"jsonrpc": "2.0", "id": number, "method": "initialize", "params": params})
        self._feed({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def _cancel(self, key: Key) -> None:
        number = self._numbered.get(key)
        if number is not None:
            self._feed({"jsonrpc": "2.0", "method": CANCELLED, "params": {"requestId": number}})

    def _answered(self, answer: Envelope) -> bool:
        """Whether the answer, or the progress on the way to it, is to a question of this connection."""
        message = dict(answer.message)
        if answer.kind == "response":
            number = self._asked.pop(str(message.get("id")), None)
            if number is not None:
                self._feed({**message, "id": number})
            return number is not None
        number = self._asked.get(str(answer.params.get("progressToken")))
        if number is not None:
            self._feed({**message, "params": {**answer.params, "progressToken": number}})
        return number is not None

    def _feed(self, message: Any, metadata: ServerMessageMetadata | None = None) -> None:
        try:
            self._into_server.send_nowait(SessionMessage(jsonrpc_message_adapter.validate_python(message), metadata))
        except ValidationError as error:
            self._into_server.send_nowait(error)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return  # the server has ended; what was not answered goes back to the queue

    # --- from the server to clients ---

    async def send(self, item: SessionMessage, /) -> None:
        """Returns when the broker has accepted the message; trouble with a notification is only logged."""
        message, metadata = item.message, item.metadata
        related = metadata.related_request_id if isinstance(metadata, ServerMessageMetadata) else None
        if isinstance(message, JSONRPCResponse):
            await self._answer(message.id, message.result)
        elif isinstance(message, JSONRPCError):
            await self._answer(message.id, message.error)
        else:
            request = None if related is None else self._requests.get(coerce_request_id(related))
            raw = message.model_dump(by_alias=True, exclude_unset=True, mode="json")
            if isinstance(message, JSONRPCRequest):
                await self._ask(raw, request)
            else:
                await self._notify(raw, request, standalone=related is None)

    async def _answer(self, number: RequestId | None, answer: dict[str, Any] | ErrorData) -> None:
        request = None if number is None else self._forget(coerce_request_id(number))
        if request is None:
            return
        if isinstance(answer, ErrorData) and answer.code == CONNECTION_CLOSED:  # the server ends: another one may serve
            request.settle(False)
        else:
            own = request.envelope.message["id"]
            if not isinstance(answer, ErrorData):
                self._begin_session(request, answer)
            elif _is_modern(request.envelope) is (not self._modern):
                answer = _naming_serve(answer)
            await request.answer(answer if isinstance(answer, ErrorData) else _named(answer, own))

    def _begin_session(self, request: ServedRequest, result: Mapping[str, Any]) -> None:
        """Give a client that says only once where its answers go a SessionId that holds it."""
        envelope = request.envelope
        if envelope.method == "initialize":
            version, params = (
                str(result.get("protocolVersion")),
                InitializeRequestParams.model_validate(envelope.params),
            )
            request.replies.session_id = self._sessions.seal(envelope, version, params)

    async def _ask(self, message: dict[str, Any], request: ServedRequest | None) -> None:
        number = message["id"]
        if request is None:
            text = "one connection serves many clients: ask while serving a request (related_request_id)"
            error = {"code": INVALID_REQUEST, "message": text}
            self._feed({"jsonrpc": "2.0", "id": number, "error": error})
            return
        address = await self._answers.address()
        asked = new_question(address)
        self._asked[asked] = number
        await wait_for(request.replies.send(_asked_as(message, asked), address))

    async def _notify(self, message: dict[str, Any], request: ServedRequest | None, *, standalone: bool) -> None:
        if message["method"] == CANCELLED:  # of what the server asked
            number = (message.get("params") or {}).get("requestId")
            asked = next((asked for asked, asked_number in self._asked.items() if asked_number == number), None)
            if asked is None:
                return
            del self._asked[asked]
            message = {**message, "params": {**message["params"], "requestId": asked}}
        try:
            if request is not None:
                if "params" in message:
                    message = {**message, "params": _named(message["params"], request.envelope.message["id"])}
                await wait_for(request.replies.send(message))
            elif standalone:
                for client_id, client in list(self._handshaken.items()):
                    try:
                        await wait_for(self._publisher.publish(client.reply_to or "", _to(client, message)))
                    except QueueNotFound:
                        self._handshaken.pop(client_id, None)
        except AsyncMcpError as error:
            logger.warning("a notification was not sent: %s", error)

    # --- requests ---

    async def _settled_unanswered(self, number: RequestId, request: ServedRequest) -> None:
        self._forget(number)
        request.settle(True)

    def _forget(self, number: RequestId) -> ServedRequest | None:
        request = self._requests.pop(number, None)
        key = None if request is None else key_of(request.envelope)
        if key is not None:
            self._numbered.pop(key, None)
        return request

    async def give_back(self) -> None:
        """Give what is not answered back to the queue, and close the inbox for answers."""
        for request in self._requests.values():
            request.settle(False)
        self._requests.clear()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._answers.close)

    async def aclose(self) -> None:
        return


def _named(members: dict[str, Any], subscription_id: RequestId) -> dict[str, Any]:
    """What a subscription is sent, under the id that the client gave it."""
    meta = members.get("_meta")
    if not isinstance(meta, dict) or SUBSCRIPTION_ID_META_KEY not in meta:
        return members
    return {**members, "_meta": {**meta, SUBSCRIPTION_ID_META_KEY: subscription_id}}


def _is_modern(request: Envelope) -> bool | None:
    """Whether a request is of 2026-07-28 or later; None for one that any connection takes."""
    meta = request.params.get("_meta")
    if request.method == "initialize":
        return False
    return True if isinstance(meta, Mapping) and PROTOCOL_VERSION_META_KEY in meta else None


def _naming_serve(error: ErrorData) -> ErrorData:
    """The SDK's refusal of a client of the other era, with what to do."""
    text = f"{error.message}; the first client decided that: asyncmcp_kombu.serve takes clients of both eras"
    return error.model_copy(update={"message": text})


def _asked_as(message: dict[str, Any], asked: str) -> dict[str, Any]:
    """The server's request under the id that the client sees, its progress token with it."""
    params = message.get("params") or {}
    meta = params.get("_meta") or {}
    if meta.get("progressToken") == message["id"]:
        return {**message, "id": asked, "params": {**params, "_meta": {**meta, "progressToken": asked}}}
    return {**message, "id": asked}


def _to(client: Envelope, message: dict[str, Any]) -> Envelope:
    return compose(message, client_id=client.client_id, session_id=client.session_id)
