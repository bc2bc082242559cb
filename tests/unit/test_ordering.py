"""Messages of one request are handed on in order, once, and a response always gets through."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmcp_kombu.client import ordering as module
from asyncmcp_kombu.client.ordering import Ordering
from asyncmcp_kombu.envelope import Envelope, compose


def progress(sequence: int | None, request: str = "1") -> Envelope:
    return compose(
        {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"n": sequence}},
        sequence=sequence,
        related_request=request,
    )


def response(sequence: int | None, request: int | str = 1) -> Envelope:
    return compose({"jsonrpc": "2.0", "id": request, "result": {}}, sequence=sequence)


def accepted(ordering: Ordering, *envelopes: Envelope) -> list[int | None]:
    return [ready.sequence for envelope in envelopes for ready in ordering.accept(envelope)]


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time that the module sees, in a list of one."""
    now = [1_000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_what_arrives_in_order_passes_at_once():
    ordering = Ordering()
    assert ordering.accept(progress(0))
    assert ordering.accept(progress(1))
    assert ordering.accept(response(2))
    assert ordering.next_deadline() is None


@pytest.mark.parametrize("arrival", list(itertools.permutations(range(4))))
def test_every_other_order_is_mended(arrival):
    sent = [progress(0), progress(1), progress(2), response(3)]
    assert accepted(Ordering(), *(sent[place] for place in arrival)) == [0, 1, 2, 3]


def test_what_is_delivered_twice_passes_once():
    sent = [progress(0), progress(0), progress(1), progress(0), response(2), response(2), progress(1)]
    assert accepted(Ordering(), *sent) == [0, 1, 2]


def test_a_duplicate_of_what_is_held_back_passes_once():
    assert accepted(Ordering(), response(1), response(1), progress(0)) == [0, 1]


def test_messages_without_a_number_pass_at_once():
    ordering = Ordering()
    assert accepted(ordering, progress(None), response(None), response(None)) == [None] * 3


def test_a_request_of_the_server_passes_at_once():
    envelope = compose({"jsonrpc": "2.0", "id": 1, "method": "elicitation/create"}, sequence=5)
    assert Ordering().accept(envelope) == [envelope]


def test_requests_do_not_hold_back_each_other():
    ordering = Ordering()
    assert accepted(ordering, response(1, request=1)) == []
    assert accepted(ordering, response(0, request=2)) == [0]


def test_the_id_in_a_body_and_its_mirror_as_text_mean_the_same_request():
    assert accepted(Ordering(), progress(0, request="7"), response(1, request=7)) == [0, 1]


def test_a_gap_is_waited_for_only_so_long(clock):
    ordering = Ordering(patience=2.0)
    assert accepted(ordering, response(2)) == []
    assert ordering.next_deadline() == 1_002.0
    clock[0] = 1_001.9
    assert ordering.overdue() == []
    clock[0] = 1_002.0
    assert [ready.sequence for ready in ordering.overdue()] == [2]
    assert ordering.next_deadline() is None


def test_after_a_gap_the_rest_passes_in_order_and_what_came_too_late_is_dropped(clock):
    ordering = Ordering(patience=1.0)
    assert accepted(ordering, progress(3), progress(1)) == []
    clock[0] += 1.0
    assert [ready.sequence for ready in ordering.overdue()] == [1, 3]
    assert accepted(ordering, progress(0), progress(2)) == []
    assert accepted(ordering, response(4)) == [4]


def test_patience_counts_from_the_first_message_that_is_held_back(clock):
    ordering = Ordering(patience=1.0)
    accepted(ordering, progress(1))
    clock[0] += 0.9
    accepted(ordering, response(2))
    assert ordering.next_deadline() == 1_001.0


def test_the_earliest_deadline_of_all_requests_counts(clock):
    ordering = Ordering(patience=1.0)
    accepted(ordering, response(1, request=1))
    clock[0] += 0.5
    accepted(ordering, response(1, request=2))
    assert ordering.next_deadline() == 1_001.0
    clock[0] += 0.5
    assert [ready.request_id for ready in ordering.overdue()] == [1]
    assert ordering.next_deadline() == 1_001.5


def test_a_call_that_ran_again_after_a_crash_counts_from_0_and_its_response_still_passes():
    ordering = Ordering()
    assert accepted(ordering, progress(0), progress(1), progress(2)) == [0, 1, 2]
    assert accepted(ordering, progress(0), response(1)) == [1]


def test_a_call_that_ran_again_gives_exactly_one_response():
    ordering = Ordering()
    assert accepted(ordering, progress(0), progress(1), response(0)) == [0, 1, 0]
    assert accepted(ordering, response(2), response(0), progress(2)) == []


def test_what_was_held_back_goes_before_the_response_of_the_second_run():
    ordering = Ordering()
    assert accepted(ordering, progress(0), progress(1), progress(3), response(1)) == [0, 1, 3, 1]


@given(st.permutations(range(6)), st.lists(st.integers(0, 5), max_size=6))
def test_whatever_the_order_and_the_duplicates_everything_passes_once_in_order(arrival, duplicates):
    sent = [*(progress(n) for n in range(5)), response(5)]
    assert accepted(Ordering(), *(sent[n] for n in [*arrival, *duplicates])) == [0, 1, 2, 3, 4, 5]


def test_a_response_that_is_held_back_survives_a_message_of_an_earlier_run_with_its_number():
    ordering = Ordering()
    passed = [one for sent in (response(1), progress(1), progress(0)) for one in ordering.accept(sent)]
    assert [one.kind for one in passed].count("response") == 1


@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=12),
    st.integers(0, 6),
    st.integers(0, 12),
)
def test_whatever_is_lost_or_run_again_exactly_one_response_passes(others, number, place):
    messages = [response(n) if is_response else progress(n) for n, is_response in others]
    messages.insert(min(place, len(messages)), response(number))
    ordering = Ordering(patience=0.0)
    passed: list[Envelope] = []
    for message in messages:
        passed += ordering.accept(message)
    passed += ordering.overdue()
    assert [ready.kind for ready in passed].count("response") == 1
    assert ordering.next_deadline() is None


def test_memory_of_answered_requests_is_bounded():
    ordering = Ordering()
    started = time.monotonic()
    for number in range(module._REMEMBERED + 100):
        ordering.accept(response(0, request=number))
    assert len(ordering._answered) == module._REMEMBERED
    assert not ordering._sequences
    assert time.monotonic() - started < 5
