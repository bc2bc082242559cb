"""Leases are renewed, deletes are coalesced, and closing gives back what is held: one real thread at work.

The client records its calls and can be made to wait, so that what is handed over meanwhile is gathered.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from asyncmcp_kombu.broker.sqs_receipts import Receipt, Receipts

SOON = 5.0


class RecordingClient:
    """Requests go into `calls` as (what, queue, handles, at); `gate` holds them up while cleared."""

    def __init__(self) -> None:
        self.calls: queue.Queue[tuple[str, str, list[str], float]] = queue.Queue()
        self.gate = threading.Event()
        self.gate.set()
        self.answers: list[dict[str, Any] | Exception] = []

    def delete_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        return self._record("delete", QueueUrl, Entries)

    def change_message_visibility_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        seconds = {entry["VisibilityTimeout"] for entry in Entries}
        assert len(seconds) == 1
        return self._record("renew" if seconds.pop() else "release", QueueUrl, Entries)

    def _record(self, what: str, url: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
        assert len({entry["Id"] for entry in entries}) == len(entries) <= 10
        self.calls.put((what, url, [entry["ReceiptHandle"] for entry in entries], time.monotonic()))
        assert self.gate.wait(SOON)
        answer = self.answers.pop(0) if self.answers else {}
        if isinstance(answer, Exception):
            raise answer
        return answer

    def next(self, timeout: float = SOON) -> tuple[str, list[str]]:
        what, _, handles, _ = self.calls.get(timeout=timeout)
        return what, handles


@pytest.fixture
def client() -> RecordingClient:
    return RecordingClient()


@pytest.fixture
def open_receipts(client) -> Iterator[Callable[[int], Receipts]]:
    opened: list[Receipts] = []

    def open_one(visibility_timeout: int) -> Receipts:
        opened.append(Receipts(lambda: client, visibility_timeout))
        return opened[-1]

    yield open_one
    client.gate.set()
    for one in opened:
        one.close()


def held(receipts: Receipts, *handles: str, url: str = "q") -> list[Receipt]:
    all_of_them = [Receipt(url, handle) for handle in handles]
    for receipt in all_of_them:
        receipts.hold(receipt)
    return all_of_them


def test_deletes_that_are_handed_over_during_a_request_go_together_in_tens(client, open_receipts):
    receipts = open_receipts(30)
    first, *others = held(receipts, *(str(n) for n in range(26)))
    client.gate.clear()
    receipts.delete(first)
    assert client.next() == ("delete", ["0"])
    for receipt in others:
        receipts.delete(receipt)
    client.gate.set()
    gathered = [client.next() for _ in range(3)]
    assert [len(handles) for _, handles in gathered] == [10, 10, 5]
    assert [handle for _, handles in gathered for handle in handles] == [str(n) for n in range(1, 26)]


def test_deletes_and_releases_of_several_queues_are_kept_apart(client, open_receipts):
    receipts = open_receipts(30)
    (first,) = held(receipts, "first")
    (a,), (b, c) = held(receipts, "a", url="one"), held(receipts, "b", "c", url="two")
    client.gate.clear()
    receipts.delete(first)
    client.next()
    receipts.delete(a)
    receipts.delete(b)
    receipts.release(c)
    client.gate.set()
    calls = [client.calls.get(timeout=SOON)[:3] for _ in range(3)]
    assert sorted(calls) == [("delete", "one", ["a"]), ("delete", "two", ["b"]), ("release", "two", ["c"])]


def test_a_lease_is_renewed_at_a_third_of_the_timeout_and_again(client, open_receipts):
    started = time.monotonic()
    held(open_receipts(2), "a")
    for turn in (2 / 3, 4 / 3):
        what, _, handles, at = client.calls.get(timeout=SOON)
        assert (what, handles) == ("renew", ["a"])
        assert at - started == pytest.approx(turn, abs=0.3)


def test_leases_that_are_due_together_are_renewed_together(client, open_receipts):
    receipts = open_receipts(2)
    (first,) = held(receipts, "first")
    client.gate.clear()
    receipts.delete(first)
    assert client.next() == ("delete", ["first"])
    held(receipts, *"abcde")
    threading.Timer(1.0, client.gate.set).start()  # now all are due
    what, handles = client.next()
    assert (what, sorted(handles)) == ("renew", list("abcde"))


def test_a_settled_message_is_not_renewed(client, open_receipts):
    receipts = open_receipts(2)
    a, _b = held(receipts, "a", "b")
    receipts.delete(a)
    assert client.next() == ("delete", ["a"])
    assert client.next() == ("renew", ["b"])


def test_what_is_settled_twice_or_was_never_held_makes_no_request(client, open_receipts):
    receipts = open_receipts(30)
    a, b = held(receipts, "a", "b")
    receipts.release(Receipt("q", "stranger"))
    receipts.delete(a)
    receipts.delete(a)
    receipts.release(a)
    assert client.next() == ("delete", ["a"])
    receipts.delete(b)
    assert client.next() == ("delete", ["b"])


def test_closing_gives_back_what_is_held_and_deletes_what_is_pending(client, open_receipts):
    receipts = open_receipts(30)
    first, done, *_ = held(receipts, "first", "done", "x", "y")
    client.gate.clear()
    receipts.delete(first)
    client.next()
    receipts.delete(done)
    closing = threading.Thread(target=receipts.close)
    closing.start()
    client.gate.set()
    closing.join(SOON)
    assert not closing.is_alive()
    assert sorted((client.next(), client.next())) == [("delete", ["done"]), ("release", ["x", "y"])]
    assert client.calls.empty()


def test_closing_ends_the_thread_and_may_be_done_twice_or_without_any_use(client, open_receipts):
    others = threading.enumerate()
    receipts = open_receipts(30)
    receipts.close()
    held(receipts, "too late")
    receipts.close()
    used = open_receipts(30)
    held(used, "a")
    used.close()
    used.close()
    mine = [one.name for one in threading.enumerate() if one not in others]
    assert "asyncmcp-sqs-receipts" not in mine


def test_a_delete_that_fails_for_a_passing_reason_is_tried_again(client, open_receipts):
    receipts = open_receipts(30)
    client.answers = [EndpointConnectionError(endpoint_url="http://x"), {"Failed": [{"Id": "0"}]}]
    receipts.delete(*held(receipts, "a"))
    assert [client.next() for _ in range(3)] == [("delete", ["a"])] * 3


def test_a_delete_that_sqs_will_never_accept_is_given_up_with_a_warning(client, open_receipts, caplog):
    receipts = open_receipts(30)
    meta = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    client.answers = [ClientError(meta, "DeleteMessageBatch"), {"Failed": [{"Id": "0", "SenderFault": True}]}]
    a, b, c = held(receipts, "a", "b", "c")
    with caplog.at_level(logging.WARNING):
        for receipt in (a, b, c):
            receipts.delete(receipt)
            assert client.next() == ("delete", [receipt.handle])
    assert "cannot delete 1 message(s)" in caplog.text


def test_a_renewal_that_fails_is_tried_again_before_the_lease_lapses(client, open_receipts):
    started = time.monotonic()
    client.answers = [EndpointConnectionError(endpoint_url="http://x")]
    held(open_receipts(2), "a")
    assert client.next() == ("renew", ["a"])
    what, _, _, at = client.calls.get(timeout=SOON)
    assert what == "renew"
    assert at - started < 2


def test_a_lease_that_has_lapsed_is_not_renewed_any_more(client, open_receipts):
    receipts = open_receipts(2)
    client.answers = [{"Failed": [{"Id": "0", "SenderFault": True}]}]
    held(receipts, "a")
    assert client.next() == ("renew", ["a"])
    (b,) = held(receipts, "b")
    assert client.next() == ("renew", ["b"])
    receipts.delete(b)
    assert client.next() == ("delete", ["b"])


def test_leases_on_a_queue_that_is_gone_are_given_up(client, open_receipts):
    meta = {"Error": {"Code": "QueueDoesNotExist"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    client.answers = [ClientError(meta, "ChangeMessageVisibilityBatch")] * 3
    held(open_receipts(2), "a")
    assert client.next() == ("renew", ["a"])
    with pytest.raises(queue.Empty):
        client.next(timeout=1.5)


@pytest.mark.parametrize("code", ["RequestThrottled", "KmsThrottled"])
def test_a_delete_that_is_throttled_is_tried_again(client, open_receipts, code):
    receipts = open_receipts(30)
    meta = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    client.answers = [ClientError(meta, "DeleteMessageBatch")]
    receipts.delete(*held(receipts, "a"))
    assert client.next() == ("delete", ["a"])
    assert client.next(timeout=2) == ("delete", ["a"])
