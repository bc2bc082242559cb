"""How many messages a consumer of SQS may receive: its prefetch count, and what it finishes during a poll."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from asyncmcp_kombu.broker import sqs_qos
from asyncmcp_kombu.broker.sqs_qos import QoS


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(sqs_qos, "time", clock)
    return clock


@pytest.fixture
def qos() -> QoS:
    qos = QoS(None, prefetch_count=8)
    qos._on_collect.cancel()
    return qos


def run(qos: QoS, clock: Clock, calls: int, seconds: float, tags: Any = count()) -> None:  # noqa: B008 - shared
    """Finish so many calls, each after so many seconds, while eight are held."""
    held = [next(tags) for _ in range(8)]
    for tag in held:
        qos.append(None, tag)
    for _ in range(calls):
        clock.now += seconds / 8
        qos.ack(held.pop(0))
        held.append(next(tags))
        qos.append(None, held[-1])


def test_no_more_than_the_prefetch_count_before_anything_is_finished(qos: QoS):
    assert qos.room() == 8
    for tag in range(8):
        qos.append(None, tag)
    assert qos.room() == 0


def test_as_many_ahead_as_are_finished_during_a_poll(qos: QoS, clock: Clock):
    run(qos, clock, calls=100, seconds=0.1)  # 80 in a second, so 4 in 50 ms
    assert qos.room() in (3, 4)


def test_no_more_ahead_than_the_prefetch_count(qos: QoS, clock: Clock):
    run(qos, clock, calls=100, seconds=0.01)
    assert qos.room() == 8


def test_none_ahead_where_calls_take_as_long_as_a_second(qos: QoS, clock: Clock):
    run(qos, clock, calls=30, seconds=1.0)
    assert qos.room() == 0


def test_none_ahead_when_calls_have_become_slow(qos: QoS, clock: Clock):
    run(qos, clock, calls=100, seconds=0.01)
    clock.now += 0.3
    assert qos.room() == 0


def test_what_was_received_ahead_counts_against_the_room(qos: QoS, clock: Clock):
    run(qos, clock, calls=100, seconds=0.01)
    for tag in range(1_000, 1_006):
        qos.append(None, tag)
    assert qos.room() == 2
    clock.now += 0.3
    assert qos.room() == -6


def test_what_is_given_back_is_not_finished(qos: QoS, clock: Clock):
    for tag in range(20):
        qos.append(None, tag)
        qos.reject(tag, requeue=True)
    assert qos.room() == 8


def test_without_a_prefetch_count_any_number():
    qos = QoS(None)
    qos._on_collect.cancel()
    assert qos.room() is None
