"""Relay: one forwarded request, and what the far side sends for it, passed to its caller in order.

Progress, log messages and listen frames reach the caller in the order in which they came, before the answer and
never after it. The far side's own requests (elicitation, sampling, roots) wait for what came before them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
from mcp.shared.dispatcher import Outbound
from mcp.shared.exceptions import MCPError
from mcp.shared.message import CloseSSEStreamCallback
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp_types.jsonrpc import INTERNAL_ERROR, INVALID_REQUEST, RequestId

from asyncmcp_kombu.envelope import CLOSE_STREAM

logger = logging.getLogger(__name__)

MOST_WAITING = 1_024
"""Messages that wait for a caller who reads slowly; one more, and its request is cancelled."""

Params = Mapping[str, Any] | None


class NothingHeard(Exception):
    """Neither an answer nor anything else came for as long as the request may be silent."""


class Relay:
    """One forwarded request.

    Args:
        request_id: the bridge's own id for it, under which the far side knows it.
        caller_id: the id that the caller gave it.
        caller: the way back to the caller.
        silence: seconds for which nothing at all may come before the request is given up.
        close_stream: closes the caller's HTTP stream, so that it resumes; None where there is none.
    """

    def __init__(
        self,
        request_id: RequestId,
        caller_id: RequestId,
        caller: Outbound,
        silence: float,
        close_stream: CloseSSEStreamCallback | None = None,
    ) -> None:
        self.silence = silence
        self._close_stream = close_stream
        self._request_id, self._caller_id, self._caller = request_id, caller_id, caller
        self._into, self._waiting = anyio.create_memory_object_stream[tuple[str, Params] | anyio.Event](MOST_WAITING)
        self._scope = anyio.CancelScope()
        self._stopped: MCPError | None = None
        self._questions = 0

    async def run(self, ask: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """The answer that `ask` gets, once all that came before it has been passed on.

        Raises:
            MCPError: the far side's error; or `stop` was called, and the request cancelled there.
            NothingHeard: it was silent for too long, and cancelled there.
        """
        answer: dict[str, Any] = {}
        failure: Exception | None = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._pass_on)
                try:
                    with self._scope:
                        self._sign_of_life()
                        answer = await ask()
                except Exception as error:
                    failure = error
                if self._scope.cancelled_caught:
                    failure = self._stopped or NothingHeard()
                    tasks.cancel_scope.cancel()  # what a caller has not read by now, it need not read
                self._into.close()
        finally:
            self._close()
        if failure is not None:
            raise failure
        return dict(self._under_the_callers_id(answer) or {})

    def put(self, method: str, params: Params) -> None:
        """A notification for the caller. Never waits: it is called where all requests' messages are read."""
        self._sign_of_life()
        self._put((method, params))

    async def ask(self, method: str, params: Params) -> dict[str, Any]:
        """The caller's answer to a request of the far side. A person may think it over: nothing times out."""
        caught_up = anyio.Event()
        if not self._put(caught_up):
            raise MCPError(INVALID_REQUEST, f"the request that {method} belongs to has ended")
        self._questions += 1
        self._sign_of_life()
        try:
            await caught_up.wait()
            return await self._caller.send_raw_request(method, params)
        finally:
            self._questions -= 1
            self._sign_of_life()

    def stop(self, why: MCPError) -> None:
        """Cancel the request on the far side; its caller gets `why`."""
        self._stopped = self._stopped or why
        self._scope.cancel()

    def _put(self, item: tuple[str, Params] | anyio.Event) -> bool:
        try:
            self._into.send_nowait(item)
        except anyio.WouldBlock:
            self.stop(MCPError(INTERNAL_ERROR, f"cancelled: {MOST_WAITING} messages wait for a caller who reads none"))
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            logger.debug("dropped a message for request %s, which has ended", self._request_id)
        else:
            return True
        return False

    def _close(self) -> None:
        """Also lets go of questions that still wait for their turn; they find their request ended."""
        self._into.close()
        try:
            while True:
                if isinstance(item := self._waiting.receive_nowait(), anyio.Event):
                    item.set()
        except (anyio.EndOfStream, anyio.WouldBlock):
            self._waiting.close()

    def _sign_of_life(self) -> None:
        self._scope.deadline = math.inf if self._questions else anyio.current_time() + self.silence

    async def _pass_on(self) -> None:
        async for item in self._waiting:
            if isinstance(item, anyio.Event):
                item.set()
                continue
            method, params = item
            if method == CLOSE_STREAM:
                if self._close_stream is not None:
                    await self._close_stream()
                continue
            try:
                await self._caller.notify(method, self._under_the_callers_id(params))
            except Exception as error:  # a caller who left; its request is cancelled by other means
                logger.debug("%s did not reach its caller: %s", method, error)

    def _under_the_callers_id(self, payload: Params) -> Params:
        """A frame or result of a subscription, which names its request, in the caller's terms."""
        meta = (payload or {}).get("_meta")
        if payload is None or not isinstance(meta, Mapping) or meta.get(SUBSCRIPTION_ID_META_KEY) != self._request_id:
            return payload
        return {**payload, "_meta": {**meta, SUBSCRIPTION_ID_META_KEY: self._caller_id}}
