"""RecentEvents: what a session was sent lately, bounded; and a broken stream that is taken up over HTTP."""

from __future__ import annotations

import pytest
from mcp.server.streamable_http import EventMessage
from mcp_types.jsonrpc import JSONRPCNotification

from asyncmcp_kombu.bridge.events import RecentEvents

pytestmark = pytest.mark.anyio


def message(text: str) -> JSONRPCNotification:
    return JSONRPCNotification(jsonrpc="2.0", method=text)


async def replayed(store: RecentEvents, last: str) -> tuple[str | None, list[str]]:
    got: list[EventMessage] = []

    async def take(event: EventMessage) -> None:
        got.append(event)

    stream = await store.replay_events_after(last, take)
    return stream, [one.message.method for one in got if isinstance(one.message, JSONRPCNotification)]


async def test_what_followed_in_the_same_stream_is_replayed() -> None:
    store = RecentEvents()
    ids = [await store.store_event(stream, message(f"{stream}{n}")) for n in range(3) for stream in "ab"]
    assert await replayed(store, ids[0]) == ("a", ["a1", "a2"])
    assert await replayed(store, ids[1]) == ("b", ["b1", "b2"])
    assert await replayed(store, ids[-1]) == ("b", [])


async def test_a_priming_event_is_a_place_to_resume_from_but_no_message() -> None:
    store = RecentEvents()
    first = await store.store_event("1", None)
    await store.store_event("1", None)
    await store.store_event("1", message("x"))
    assert await replayed(store, first) == ("1", ["x"])


@pytest.mark.parametrize("event_id", ["", "x", "0-MQ==", "-1-MQ==", "99-MQ==", "1", "1-%", "1-\xe9", "1-/w=="])
async def test_an_id_that_was_never_given_replays_nothing(event_id: str) -> None:
    store = RecentEvents()
    await store.store_event("1", message("x"))
    assert (await replayed(store, event_id))[1] == []


async def test_ids_are_safe_in_a_header_whatever_the_stream_is_called() -> None:
    event_id = await RecentEvents().store_event('a\nb: "é"', message("x"))
    assert event_id.isascii()
    assert event_id.isprintable()
    assert " " not in event_id


async def test_it_keeps_a_bounded_number_and_size_and_the_newest() -> None:
    store = RecentEvents(most_events=10)
    ids = [await store.store_event("1", message(str(n))) for n in range(100)]
    assert await replayed(store, ids[0]) == ("1", [str(n) for n in range(90, 100)])
    small = RecentEvents(most_bytes=5_000)
    ids = [await small.store_event("1", message(str(n) * 2_000)) for n in range(5)]
    assert (await replayed(small, ids[0]))[1] == ["3" * 2_000, "4" * 2_000]
    await small.store_event("1", message("x" * 10_000))  # larger than all that may be kept
    assert (await replayed(small, ids[0]))[1] == []
