"""RecentEvents: what was sent to one HTTP session lately, so that a client can take up a broken stream.

One store per session: the SDK names a stream after the request's id, and ids are the same in all sessions. Only for
handshake-era clients; 2026-07-28 has no resumable streams.
"""

from __future__ import annotations

import base64
import binascii
from collections import deque
from typing import NamedTuple

from mcp.server.streamable_http import EventCallback, EventId, EventMessage, EventStore, StreamId
from mcp_types import JSONRPCMessage

MOST_EVENTS = 500
MOST_BYTES = 4 * 1024 * 1024


class _Event(NamedTuple):
    number: int
    stream_id: StreamId
    message: JSONRPCMessage | None
    size: int


class RecentEvents(EventStore):
    """The last events of one session, up to a number and a size; the oldest are forgotten first.

    An event's id names its stream, too: a client whose last event was forgotten still gets what followed it.
    """

    def __init__(self, most_events: int = MOST_EVENTS, most_bytes: int = MOST_BYTES) -> None:
        self._most_events, self._most_bytes = most_events, most_bytes
        self._events: deque[_Event] = deque()
        self._last, self._bytes = 0, 0

    async def store_event(self, stream_id: StreamId, message: JSONRPCMessage | None) -> EventId:
        self._last += 1
        size = 0 if message is None else len(message.model_dump_json(by_alias=True, exclude_unset=True))
        self._events.append(_Event(self._last, stream_id, message, size))
        self._bytes += size
        while len(self._events) > self._most_events or self._bytes > self._most_bytes:
            self._bytes -= self._events.popleft().size
        return _event_id(self._last, stream_id)

    async def replay_events_after(self, last_event_id: EventId, send_callback: EventCallback) -> StreamId | None:
        place = _place(last_event_id)
        if place is None or not 0 < place[0] <= self._last:
            return None
        number, stream_id = place
        for event in list(self._events):
            if event.number > number and event.stream_id == stream_id and event.message is not None:
                await send_callback(EventMessage(event.message, _event_id(event.number, stream_id)))
        return stream_id


def _event_id(number: int, stream_id: StreamId) -> EventId:
    """Safe in an SSE field, whatever characters a client has put into its request id."""
    return f"{number}-{base64.urlsafe_b64encode(stream_id.encode()).decode()}"


def _place(event_id: EventId) -> tuple[int, StreamId] | None:
    number, _, stream_id = event_id.partition("-")
    try:
        return int(number), base64.urlsafe_b64decode(stream_id.encode()).decode()
    except (ValueError, binascii.Error):
        return None
