"""Callers: clients that send calls at a steady rate and count every answer that reaches their session."""

from __future__ import annotations

import itertools
from typing import Any

import anyio
from mcp.shared.message import SessionMessage
from mcp_types.jsonrpc import jsonrpc_message_adapter

from asyncmcp_kombu import Settings, kombu_client
from asyncmcp_kombu.client.sending import QueueWriteStream
from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.errors import BrokerError
from tests.chaos.tally import Tally

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "chaos", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Caller:
    """One client. Its streams are the transport's own, so that every answer is seen, and not only the first."""

    def __init__(self, name: str, settings: Settings, tally: Tally) -> None:
        self.name, self._settings, self._tally = name, settings, tally
        self._numbers: dict[object, int] = {}
        self._ids = itertools.count()
        self.last: Envelope | None = None
        self._write: QueueWriteStream | None = None

    async def run(self, *, task_status: Any) -> None:
        async with kombu_client(settings=self._settings) as (read, write):
            self._write = write
            task_status.started()
            async for item in read:
                if not isinstance(item, Exception):
                    self._arrived(item.message.model_dump(by_alias=True, mode="json", exclude_unset=True))

    def _arrived(self, message: dict[str, Any]) -> None:
        key, tally = (self.name, message.get("id")), self._tally
        tally.answers[key] += 1
        if key not in self._numbers:  # poison
            tally.poison_answered += tally.answers[key] == 1
            return
        number = self._numbers[key]
        found = ((message.get("result") or {}).get("structuredContent") or {}).get("result")
        if found != number:
            tally.wrong.append(f"{number}: {message}"[:300])
        tally.answered.add(number)

    async def call(self, number: int) -> None:
        """Send the call until the broker has accepted it."""
        while True:
            request_id = next(self._ids)
            self._numbers[self.name, request_id] = number
            try:
                await self._send(request_id, "work", {"n": number})
            except BrokerError:
                await anyio.sleep(0.5)
                if number not in self._tally.answered:
                    continue  # what the broker refused, or accepted without being able to say so, is sent again
            self._tally.sent.add(number)
            return

    async def poison(self) -> None:
        try:
            await self._send(f"poison-{next(self._ids)}", "poison", {})
        except BrokerError:
            return
        self._tally.poison_sent += 1

    async def _send(self, request_id: object, tool: str, arguments: dict[str, Any]) -> None:
        params = {"name": tool, "arguments": arguments, "_meta": META}
        message = {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}
        assert self._write is not None
        if tool == "work":
            self.last = self._write._envelope(message)
        await self._write.send(SessionMessage(jsonrpc_message_adapter.validate_python(message)))
