"""The private names of Kombu 5.7 on which broker/memory.py and broker/virtual.py rest are there, and mean what they
meant."""

from __future__ import annotations

import inspect

from kombu.transport import memory, virtual

from asyncmcp_kombu.broker.memory import Channel, Transport


def test_the_channel_has_the_names_that_are_called():
    assert list(inspect.signature(memory.Channel._put).parameters)[:3] == ["self", "queue", "message"]
    assert list(inspect.signature(memory.Channel._delete).parameters)[:2] == ["self", "queue"]
    assert list(inspect.signature(memory.Channel._size).parameters) == ["self", "queue"]
    assert list(inspect.signature(virtual.Channel._next_delivery_tag).parameters) == ["self"]
    assert list(inspect.signature(virtual.Channel._lookup).parameters)[:3] == ["self", "exchange", "routing_key"]
    for name in ("_inplace_augment_message", "basic_publish", "queue_bind", "queue_unbind", "queue_delete"):
        assert callable(getattr(memory.Channel, name))


def test_bindings_are_rows_of_a_table_that_all_channels_share():
    assert "self.state.exchanges[exchange]['table']" in inspect.getsource(virtual.Channel.get_table)
    assert "table[:] =" in inspect.getsource(virtual.Channel.queue_unbind)
    assert memory.Transport.global_state is Transport.global_state
    assert memory.Channel.queues is Channel.queues
    assert Transport.Channel is Channel


def test_kombu_still_shares_one_delivery_tag_among_copies():
    """Else broker/virtual.py has less to do."""
    assert "_put(queue, message, **kwargs)" in inspect.getsource(virtual.exchange.DirectExchange.deliver)
