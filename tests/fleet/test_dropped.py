"""Deadlines: work that nobody waits for is dropped before it starts, and counted."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.events import EventReceiver

from asyncmcp_kombu.broker.connection import transport_options
from tests.fleet.conftest import Fleet
from tests.fleet.test_refusals import META, Writer


@pytest.mark.parametrize("broker", ["redis"])
def test_what_nobody_waits_for_is_dropped_unrun_and_counted(
    fleets: Callable[..., Fleet], broker: str, tmp_path: Path
) -> None:
    fleet, mark = fleets(broker), tmp_path / "mark"
    writer, events = Writer(fleet), list[dict[str, Any]]()
    seen, over = threading.Event(), threading.Event()

    def on_event(event: dict[str, Any]) -> None:
        events.append(event)
        if len(events) == 2:
            seen.set()

    with writer.connect() as connection:
        receiver = EventReceiver(connection, handlers={"mcp-request-dropped": on_event}, app=fleet.workers[0].app)

        def listen() -> None:
            while not over.is_set():
                try:
                    receiver.capture(limit=None, timeout=0.5, wakeup=False)
                except TimeoutError:
                    continue

        listener = threading.Thread(target=listen)
        listener.start()
        writer.inbox.start()
        try:
            params = {"name": "sleeps", "arguments": {"seconds": 0, "mark": str(mark)}, "_meta": META}
            late = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params}
            give_up_at = time.monotonic() + 15
            while not seen.is_set() and time.monotonic() < give_up_at:  # a listener is not bound at once
                events.clear()
                writer.write(late, ExpiresAt=str(time.time() - 1))
                writer.write("{not json")
                seen.wait(2)
        finally:
            over.set()
            receiver.should_stop = True  # events of other fleets on this Redis may never pause
            listener.join()
            writer.inbox.close()
    assert sorted(event["reason"] for event in events[:2]) == ["expired", "not-json"]
    assert {event.get("name") for event in events} >= {"sleeps"}
    assert not mark.exists()


@pytest.mark.parametrize("broker", ["redis"])
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_call_that_waits_in_the_pool_beyond_its_deadline_is_not_started_and_counted(
    new_fleet: Callable[..., Fleet], broker: str, pool: str, tmp_path: Path
) -> None:
    fleet, mark = new_fleet(broker, pool), tmp_path / "mark"
    fleet.start_worker(concurrency=1, prefetch_multiplier=4)
    writer = Writer(fleet)
    writer.inbox.start()
    try:
        for n, expires_in in enumerate((30.0, 1.0, 30.0)):
            params = {
                "name": "sleeps",
                "arguments": {"seconds": 2.0 if n == 0 else 0, "mark": str(mark), "tag": str(n)},
                "_meta": META,
            }
            call = {"jsonrpc": "2.0", "id": n, "method": "tools/call", "params": params}
            writer.write(call, ExpiresAt=str(time.time() + expires_in))
        assert [writer.answer()["id"] for _ in range(2)] == [0, 2]
        app = Celery(
            broker=fleet.broker_url, broker_transport_options=transport_options(fleet.broker_url, fleet.settings)
        )
        only = [f"{fleet.prefix}w1@{socket.gethostname()}"]  # all workers on this Redis hear the question
        (stats,) = app.control.inspect(destination=only, limit=1, timeout=5).stats().values()
    finally:
        writer.inbox.close()
    assert stats["total"]["mcp.dropped.expired"] == 1
    assert mark.read_text().split("\n")[:-1] == ["start 0", "end 0", "start 2", "end 2"]
