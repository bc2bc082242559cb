"""What waits to be sent: batches for the first sender, and for the second only whole ones that may overtake."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from asyncmcp_kombu.broker.outgoing import MOST_AT_ONCE, Order, Outgoing


def order(n: int, queue: str = "requests", exchange: str = "") -> Order:
    return Order(exchange, queue, b"%d" % n, {}, Future(), 0.0, str(n))


def holding(*orders: Order) -> Outgoing:
    outgoing = Outgoing()
    assert all(outgoing.put(one) for one in orders)
    return outgoing


def test_batches_are_taken_in_the_order_in_which_messages_were_handed_over():
    outgoing = holding(*map(order, range(23)))
    taken = [outgoing.take(), outgoing.take(), outgoing.take()]
    assert [len(batch) for batch in taken] == [10, 10, 3]
    assert [one.body for batch in taken for one in batch] == [b"%d" % n for n in range(23)]


def test_the_second_sender_gets_a_whole_batch_or_waits_for_one():
    outgoing, taken = holding(*map(order, range(MOST_AT_ONCE - 1))), list[Order]()
    second = threading.Thread(target=lambda: taken.extend(outgoing.take_many()))
    second.start()
    second.join(0.1)
    assert second.is_alive()
    assert not outgoing.many()
    outgoing.put(order(9))
    second.join(5)
    assert [one.body for one in taken] == [b"%d" % n for n in range(MOST_AT_ONCE)]


def test_what_goes_to_a_fifo_queue_or_topic_is_not_overtaken():
    for fifo in (order(0, "requests.fifo"), order(0, "client", "arn:aws:sns:us-east-1:1:events.fifo")):
        outgoing = holding(*map(order, range(MOST_AT_ONCE - 1)), fifo, *map(order, range(MOST_AT_ONCE)))
        assert not outgoing.many()
        outgoing.take()
        assert outgoing.many()


def test_closing_ends_the_wait_of_both_and_leaves_what_waits_to_the_first():
    outgoing, taken = Outgoing(), list[list[Order]]()
    waits = [
        threading.Thread(target=lambda take=take: taken.append(take())) for take in (outgoing.take, outgoing.take_many)
    ]
    for wait in waits:
        wait.start()
    outgoing.close()
    for wait in waits:
        wait.join(5)
    assert taken == [[], []]

    outgoing = holding(*map(order, range(MOST_AT_ONCE)))
    outgoing.close()
    assert not outgoing.put(order(10))
    assert outgoing.take_many() == []
    assert len(outgoing.take()) == MOST_AT_ONCE
