"""Back channel: requests to a client (sampling, elicitation, roots) and their answers.

They exist in the handshake versions only. The first one opens an inbox of this process; its address goes out as
`ReplyTo`, so the client's answer comes back to the very process that waits. Correlation, timeouts and progress are
the SDK's.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import anyio
from anyio.abc import AsyncResource
from anyio.streams.memory import MemoryObjectSendStream
from kombu.connection import Connection
from mcp.shared.dispatcher import CallOptions, DispatchContext
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.message import SessionMessage
from mcp_types.jsonrpc import METHOD_NOT_FOUND, JSONRPCRequest, jsonrpc_message_adapter
from pydantic import ValidationError

from asyncmcp_kombu.broker.threads import wait_for
from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.server.answers import Answers
from asyncmcp_kombu.topology import Topology, new_question

logger = logging.getLogger(__name__)

Send = Callable[[Mapping[str, Any], str | None], Future[None]]
"""Sends a message to the client, with the address to answer to."""
_Waiting = MemoryObjectSendStream[SessionMessage | Exception]


class BackChannel:
    """The requests that one process sends to clients. Used in one event loop; `close` from any thread."""

    def __init__(self, topology: Topology, connect: Callable[[], Connection], max_bytes: int) -> None:
        self._answers = Answers(topology, connect, self._hand_over, max_bytes)
        self._waiting: dict[str, _Waiting] = {}

    async def ask(
        self, send: Send, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None
    ) -> dict[str, Any]:
        """Send a request to a client and return its result.

        Raises:
            MCPError: the client answered with an error, or not within `opts["timeout"]` seconds.
            BrokerUnreachable: the broker is away.
        """
        address = await self._answers.address()
        request_id = new_question(address)  # unguessable: another client that knows the inbox cannot answer for this
        into, arrivals = anyio.create_memory_object_stream[SessionMessage | Exception](math.inf)
        self._waiting[request_id] = into
        options: CallOptions = {**(opts or {}), "request_id": request_id}
        result: dict[str, Any] = {}
        failure: Exception | None = None
        try:
            async with anyio.create_task_group() as tasks:
                dispatcher: JSONRPCDispatcher[Any] = JSONRPCDispatcher(arrivals, _ToClient(send, address))
                await tasks.start(dispatcher.run, _refuse, _ignore)
                try:
                    result = await dispatcher.send_raw_request(method, params, options)
                except Exception as error:  # as it is, and not in the task group's ExceptionGroup
                    failure = error
                tasks.cancel_scope.cancel()
        finally:
            del self._waiting[request_id]
            into.close()
        if failure is not None:
            raise failure
        return result

    def close(self) -> None:
        """Delete the inbox. Takes less than a second; blocks meanwhile."""
        self._answers.close()

    def _hand_over(self, answer: Envelope) -> None:
        key = str(answer.params.get("progressToken", answer.message.get("id")))
        waiting = self._waiting.get(key)
        if waiting is None:
            logger.debug("dropped a client's answer that nobody waits for (any more)")
            return
        try:
            message = jsonrpc_message_adapter.validate_python(answer.message, by_name=False)
        except ValidationError as error:
            waiting.send_nowait(error)
        else:
            waiting.send_nowait(SessionMessage(message))


class _ToClient(AsyncResource):
    """The stream into which the SDK writes what goes to the client."""

    def __init__(self, send: Send, address: str | None) -> None:
        self._send, self._address = send, address

    async def send(self, item: SessionMessage, /) -> None:
        message = item.message.model_dump(by_alias=True, exclude_unset=True, mode="json")
        await wait_for(self._send(message, self._address if isinstance(item.message, JSONRPCRequest) else None))

    async def aclose(self) -> None:
        return


async def _refuse(dctx: DispatchContext[Any], method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
    raise MCPError(code=METHOD_NOT_FOUND, message="requests go to the server's request queue")


async def _ignore(dctx: DispatchContext[Any], method: str, params: Mapping[str, Any] | None) -> None:
    return
