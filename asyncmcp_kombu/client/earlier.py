"""Earlier answers: what came for the requests of a durable client's former processes, until somebody asks for it.

Such an answer is not acknowledged before it is taken, so that it survives this process, too. Who else opens the
durable client announces that in its queue before reading from it: the newest one owns the queue. Within one process
it is told directly.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, cast
from weakref import WeakValueDictionary

import anyio
from mcp.shared.exceptions import MCPError
from mcp_types.jsonrpc import ErrorData

from asyncmcp_kombu.broker.threads import CallSoon
from asyncmcp_kombu.client.wire_ids import read_wire_id
from asyncmcp_kombu.envelope import Envelope, compose
from asyncmcp_kombu.errors import BrokerError, BrokerUnreachable, ClientSuperseded

OPENED = "notifications/asyncmcp/opened"
"""What a durable client writes to its own reply queue before it reads there. No other client hears of it."""

_ANNOUNCED_AGAIN = 5
"""How often an announcement that came back to its writer goes into the queue again: an older process may read there,
too, and who gets a message is the broker's choice."""
_REMEMBERED = 4_096
"""Answers that were taken, whose late duplicates are recognised."""


class _Waiting(NamedTuple):
    envelope: Envelope
    message: Any


_open_here: WeakValueDictionary[tuple[str, str], EarlierAnswers] = WeakValueDictionary()
"""The durable clients that this process has open."""


def announcement(client_id: str, incarnation: str) -> Envelope:
    """What tells an older process of the same durable client that it is superseded."""
    return compose({"jsonrpc": "2.0", "method": OPENED, "params": {"incarnation": incarnation}}, client_id=client_id)


class EarlierAnswers:
    """The answers to requests that former processes of a durable client left open: `transport.answers`.

    A request is named by the key that its caller gave it, in `_meta` under `io.asyncmcp/requestId`:

        await client.call_tool("bill", {"month": 11}, meta={"io.asyncmcp/requestId": "bill-2026-11"})

    Use it while the transport is entered, in the same event loop.
    """

    def __init__(self, name: tuple[str, str]) -> None:
        """Args: name: the broker's URL and the reply queue's name."""
        self._name, self._incarnation = name, ""
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self._taken: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self._came_back = 0
        self._over, self._late = False, list[Any]()
        self._ended: BrokerError = BrokerUnreachable("the durable client is not connected")
        self.settle: Callable[[Callable[[], object]], None] | None = None
        """Has the thread that consumes make a call."""
        self._soon: CallSoon | None = None
        self._on_superseded: Callable[[ClientSuperseded], None] | None = None
        self._changed: anyio.Event | None = None

    def waiting(self) -> list[str]:
        """The keys of the answers that have arrived and are not taken, the first to arrive first.

        An answer to a request without a key stands here under an id that `get` takes, too. Just after entering,
        some may be under way.
        """
        with self._lock:
            return [_key_of(wire_id) for wire_id in self._waiting]

    async def get(self, key: str, *, timeout: float = 60.0) -> dict[str, Any]:
        """Take the answer to the request of that key that a former process sent.

        Args:
            key: what stood in the request's `_meta`, or what `waiting` says. Of several answers under one key the
                first to arrive is taken.
            timeout: seconds to wait for it.

        Returns:
            The JSON-RPC result: `CallToolResult.model_validate(…)` makes the SDK's object of that of a `tools/call`.

        It is acknowledged then: nobody gets it a second time, unless this process dies in that moment. Cancelling the
        wait takes nothing.

        Raises:
            MCPError: the request was answered with an error.
            TimeoutError: nothing has come so far. The call may still run, and you may ask again.
            ClientSuperseded: a newer process has opened this durable client.
            BrokerUnreachable: the transport is not entered (any more).
        """
        with anyio.move_on_after(timeout):
            while True:
                changed = self._changed
                if changed is None:
                    raise self._ended
                message = self._take(key)
                if message is not None:
                    if "error" in message:
                        raise MCPError.from_error_data(ErrorData.model_validate(message["error"]))
                    return cast("dict[str, Any]", message["result"])
                await changed.wait()
        raise TimeoutError(f"no answer to the request {key!r} of an earlier process has come within {timeout:g} s")

    # --- for the transport ---

    def open(self, incarnation: str, soon: CallSoon, on_superseded: Callable[[ClientSuperseded], None]) -> None:
        """Args: soon: schedules a call on this event loop, where `on_superseded` is called."""
        self._incarnation, self._soon, self._on_superseded = incarnation, soon, on_superseded
        self._changed = anyio.Event()

    def take_over(self) -> None:
        """Tell the one that this process has open, if any. Others are told by the announcement."""
        former = _open_here.get(self._name)
        _open_here[self._name] = self
        if former is not None:
            former._end()

    @property
    def superseded(self) -> bool:
        return self._over

    def close(self, ended: BrokerError) -> None:
        """Whoever waits is told."""
        if _open_here.get(self._name) is self:
            del _open_here[self._name]
        changed, self._changed = self._changed, None
        if changed is not None:
            self._ended = ended
            changed.set()

    def give_back(self) -> None:
        """What was not taken goes back to the queue. Called in the thread that consumes, at its end."""
        with self._lock:
            unsettled = [*(message for _, message in self._waiting.values()), *self._late]
            self._waiting.clear()
            self._late.clear()
        for message in unsettled:
            message.requeue()

    def look(self, envelope: Envelope, message: Any) -> bool:
        """Whether a message is kept here, and so not for the session. Called in the thread that consumes."""
        if self._over:
            self._late.append(message)
            return True
        if envelope.method == OPENED:
            self._hears_of(envelope.params.get("incarnation"), message)
            return True
        wire_id = envelope.message.get("id") if envelope.kind == "response" else None
        read = read_wire_id(wire_id)
        if read is None or read.incarnation == self._incarnation:
            return False
        with self._lock:
            taken = wire_id in self._taken
            if not taken:
                self._waiting[str(wire_id)] = _Waiting(envelope, message)  # of two deliveries, the later can be settled
        if taken:
            message.ack()
        else:
            self._call_soon(self._arrived)
        return True

    def _hears_of(self, incarnation: object, message: Any) -> None:
        if incarnation == self._incarnation and self._came_back < _ANNOUNCED_AGAIN:
            self._came_back += 1
            message.requeue()
            return
        message.ack()
        if isinstance(incarnation, str) and incarnation > self._incarnation:
            self._end()

    def _end(self) -> None:
        """From here on all that comes is the newer one's."""
        self._over = True
        self._call_soon(self._superseded)

    def _take(self, key: str) -> dict[str, Any] | None:
        with self._lock:
            wire_id = next((one for one in self._waiting if key in (one, _key_of(one))), None)
            if wire_id is None:
                return None
            envelope, message = self._waiting.pop(wire_id)
            self._taken[wire_id] = None
            if len(self._taken) > _REMEMBERED:
                self._taken.popitem(last=False)
        assert self.settle is not None
        self.settle(message.ack)
        return dict(envelope.message)

    def _call_soon(self, call: Callable[[], None]) -> None:
        if self._soon is not None:
            with suppress(RuntimeError):  # its event loop has ended
                self._soon(call)

    def _arrived(self) -> None:
        if self._changed is not None:
            changed, self._changed = self._changed, anyio.Event()
            changed.set()

    def _superseded(self) -> None:
        if self._changed is None:  # it has ended meanwhile
            return
        error = ClientSuperseded(
            "another process opened this durable client: its answers go there now, and `answers.get` there finds those "
            "that were not taken; give each process that runs at the same time a client_id of its own"
        )
        self.close(error)
        if self._on_superseded is not None:
            self._on_superseded(error)


def _key_of(wire_id: str) -> str:
    read = read_wire_id(wire_id)
    return wire_id if read is None or read.key is None else read.key
