"""What a client that is not the SDK's may write: ids and tokens of either type, used again, and notifications."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from mcp.shared.message import SessionMessage
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    PROTOCOL_VERSION_META_KEY,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
)

from tests.interaction.connect import SOON, Connect
from tests.interaction.spec import requirement, runs_on

pytestmark = pytest.mark.anyio

RAW = runs_on(
    "messages are written by hand: to our transport, and of 2026-07-28, which needs no handshake",
    hosts=("single", "fleet"),
    eras=("2026",),
)
PATIENCE = 5.0
"""Seconds for an answer that would be lost."""
META = {PROTOCOL_VERSION_META_KEY: "2026-07-28", CLIENT_CAPABILITIES_META_KEY: {}}


class Wire:
    """Writes messages and reads what comes."""

    def __init__(self, read: Any, write: Any) -> None:
        self._read, self._write = read, write
        self.notifications: list[JSONRPCNotification] = []

    async def send(self, request_id: str | int, tool: str, token: str | int | None = None, **arguments: Any) -> None:
        meta = META if token is None else META | {"progressToken": token}
        params = {"name": tool, "arguments": arguments, "_meta": meta}
        request = JSONRPCRequest(jsonrpc="2.0", id=request_id, method="tools/call", params=params)
        await self._write.send(SessionMessage(request))

    async def notify(self, method: str, **params: Any) -> None:
        await self._write.send(SessionMessage(JSONRPCNotification(jsonrpc="2.0", method=method, params=params)))

    async def answer(self, patience: float = SOON) -> JSONRPCResponse | JSONRPCError:
        with anyio.fail_after(patience):
            while True:
                message = (await self._read.receive()).message
                if isinstance(message, JSONRPCResponse | JSONRPCError):
                    return message
                self.notifications.append(message)

    async def call(self, request_id: str | int, text: str, patience: float = SOON) -> tuple[Any, Any]:
        await self.send(request_id, "echo", text=text)
        answer = await self.answer(patience)
        assert isinstance(answer, JSONRPCResponse)
        return answer.id, answer.result["structuredContent"]["result"]


@RAW
@requirement("2026-07-28/basic/index#responses", "Responses MUST include the same ID as the request.")
async def test_an_answer_has_the_id_of_its_request_in_value_and_type(connect: Connect) -> None:
    async with connect.transport() as (read, write):
        wire = Wire(read, write)
        for request_id in (0, -1, 2**40, "7", "a b/✓", "x" * 200):
            answered, text = await wire.call(request_id, "hello")
            assert (answered, type(answered), text) == (request_id, type(request_id), "hello")


@RAW
@requirement("2026-07-28/basic/index#requests", "The ID MUST NOT match one that is not yet answered: later it may.")
async def test_an_id_may_be_used_again_once_it_is_answered(connect: Connect) -> None:
    async with connect.transport() as (read, write):
        wire = Wire(read, write)
        for n in range(3):
            assert await wire.call(1, f"{n}", PATIENCE) == (1, f"{n}")


@RAW
@requirement("2026-07-28/basic/index#requests", "Requests have a string or integer ID: 7 and `7` are two IDs.")
async def test_a_number_and_a_text_that_look_alike_are_two_ids(connect: Connect) -> None:
    async with connect.transport() as (read, write):
        wire = Wire(read, write)
        assert await wire.call(7, "number") == (7, "number")
        assert await wire.call("7", "text", PATIENCE) == ("7", "text")


@RAW
@requirement("2026-07-28/basic/patterns/progress#progress-flow", "Progress tokens are a string or integer value.")
async def test_progress_carries_the_token_in_value_and_type(connect: Connect) -> None:
    tokens: list[str | int] = [0, 12345, "54321", "a b/✓"]
    async with connect.transport() as (read, write):
        wire = Wire(read, write)
        for request_id, token in enumerate(tokens, start=1):
            await wire.send(request_id, "progress", token, steps=1)
            await wire.answer()
    assert repr([(one.params or {})["progressToken"] for one in wire.notifications]) == repr(tokens)


@RAW
@requirement("2026-07-28/basic/index#notifications", "The receiver MUST NOT send a response.")
async def test_a_notification_that_means_nothing_is_not_answered(connect: Connect) -> None:
    async with connect.transport() as (read, write):
        wire = Wire(read, write)
        for method in ("notifications/initialized", "notifications/unknown", "notifications/cancelled"):
            await wire.notify(method, nonsense=True)
        assert await wire.call(1, "after") == (1, "after")
    assert wire.notifications == []
