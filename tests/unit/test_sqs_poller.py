"""One long poll while the queue is quiet; a second receive while messages wait; never more than there is room for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from asyncmcp_kombu.broker.sqs_poller import MOST, Poller

SOON = 10.0


class FakeQueue:
    """Its receives return what the test gives, one by one, and say how many are under way."""

    def __init__(self, room: int = 1_000) -> None:
        self.room, self.delivered = room, 0
        self.asked: list[int] = []
        self.waits: list[int | None] = []
        self.under_way = 0
        self._answers: dict[bool, list[int]] = {False: [], True: []}
        self._changed = threading.Condition()
        self.closed = False

    def receive(self, count: int, seconds: int | None) -> list[dict[str, Any]]:
        with self._changed:
            self.asked.append(count)
            self.waits.append(seconds)
            self.under_way += 1
            self._changed.notify_all()
            answers = self._answers[seconds is not None]
            self._changed.wait_for(lambda: answers or self.closed, SOON)
            self.under_way -= 1
            self._changed.notify_all()
            return [{}] * (answers.pop(0) if answers else 0)

    def deliver(self, messages: list[dict[str, Any]]) -> None:
        with self._changed:
            self.delivered += len(messages)
            self.room -= len(messages)
            self._changed.notify_all()

    def answer(self, *counts: int, second: bool = False) -> None:
        with self._changed:
            self._answers[second] += counts
            self._changed.notify_all()

    def until(self, condition: Any) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, SOON)


@pytest.fixture
def started() -> Iterator[Any]:
    pollers: list[tuple[Poller, FakeQueue]] = []

    def start(queue: FakeQueue) -> FakeQueue:
        poller = Poller("q", queue.receive, lambda: queue.room, queue.deliver, lambda: 0)
        pollers.append((poller, queue))
        return queue

    yield start
    for poller, queue in pollers:
        poller.stop()
        queue.closed = True
        queue.answer()
        poller.join(SOON)
        assert not poller.is_alive()


def test_a_quiet_queue_has_one_long_poll(started: Any):
    queue = started(FakeQueue())
    queue.answer(3, 0, 9)
    assert queue.until(lambda: len(queue.asked) == 4 and queue.under_way == 1)
    assert queue.waits == [None] * 4


def test_a_full_batch_starts_a_second_receive_and_a_smaller_one_ends_it(started: Any):
    queue = started(FakeQueue())
    queue.answer(MOST)
    assert queue.until(lambda: queue.under_way == 2)
    assert sorted(queue.waits[1:], key=str) == [1, None]
    queue.answer(2, second=True)
    assert queue.until(lambda: queue.delivered == MOST + 2 and queue.under_way == 1)
    queue.answer(2)
    assert queue.until(lambda: len(queue.waits) == 4 and queue.under_way == 1)
    assert queue.waits[-1] is None


def test_two_receives_never_ask_for_more_than_there_is_room_for(started: Any):
    queue = started(FakeQueue(room=MOST + 15))
    queue.answer(MOST)
    assert queue.until(lambda: len(queue.asked) >= 2)
    assert sum(queue.asked[1:]) <= 15
