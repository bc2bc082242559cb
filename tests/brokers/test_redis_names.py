"""The private names of Kombu 5.7 on which broker/redis.py rests are there, and mean what they meant."""

from __future__ import annotations

import inspect

from kombu.transport import redis, virtual

from asyncmcp_kombu.broker.redis import Channel, QoS, Transport


def test_the_channel_has_the_names_that_are_overridden_or_called():
    assert list(inspect.signature(redis.Channel._put).parameters)[:3] == ["self", "queue", "message"]
    assert list(inspect.signature(redis.Channel._size).parameters) == ["self", "queue"]
    assert list(inspect.signature(redis.Channel._delete).parameters)[:5] == [
        "self",
        "queue",
        "exchange",
        "routing_key",
        "pattern",
    ]
    assert callable(redis.Channel.conn_or_acquire)
    assert list(inspect.signature(redis.Channel._queue_bind).parameters) == [
        "self",
        "exchange",
        "routing_key",
        "pattern",
        "queue",
    ]
    assert list(inspect.signature(redis.Channel._q_for_pri).parameters) == ["self", "queue", "pri"]
    assert "reverse" in inspect.signature(redis.Channel._get_message_priority).parameters
    assert list(inspect.signature(redis.Channel._do_restore_message).parameters) == [
        "self",
        "payload",
        "exchange",
        "routing_key",
        "pipe",
        "leftmost",
    ]


def test_bindings_are_members_of_two_sets_that_unbinding_leaves():
    bind = inspect.getsource(redis.Channel._queue_bind)
    assert "self.sep.join([routing_key or '', pattern or '', queue or ''])" in bind
    assert bind.count("sadd") == 2
    assert redis.Channel.keyprefix_queue == "_kombu.binding.%s"
    assert redis.Channel.keyprefix_binding_permanent == "_kombu.binding_permanent.%s"
    assert redis.Channel.queue_unbind is virtual.Channel.queue_unbind
    assert Channel.queue_unbind is not virtual.Channel.queue_unbind


def test_what_is_given_back_passes_the_method_that_is_overridden():
    assert "_do_restore_message(" in inspect.getsource(redis.QoS.restore_by_tag)
    assert "_do_restore_message(" in inspect.getsource(redis.Channel._restore)


def test_leases_are_times_in_a_sorted_set_that_append_writes():
    append = inspect.getsource(redis.QoS.append)
    assert "self.unacked_index_key" in append
    assert "zadd" in append
    assert "time()" in append
    assert "self.unacked_key" in append
    assert "dumps([message._raw, EX, RK])" in append
    assert "self.visibility_timeout" in inspect.getsource(redis.QoS.restore_visible)


def test_the_qos_settles_through_the_names_that_are_overridden():
    for name in ("append", "ack", "reject", "restore_unacked_once"):
        assert callable(getattr(redis.QoS, name))
        assert getattr(QoS, name) is not getattr(redis.QoS, name)


def test_timeout_and_keys_come_from_transport_options():
    for name in ("visibility_timeout", "unacked_key", "unacked_index_key", "unacked_mutex_key"):
        assert name in redis.Channel.from_transport_options
    assert Transport.Channel is Channel
    assert Channel.QoS is QoS


def test_a_channel_waits_through_the_names_that_are_overridden():
    assert list(inspect.signature(redis.Channel._brpop_start).parameters) == ["self", "timeout"]
    start, read = inspect.getsource(redis.Channel._brpop_start), inspect.getsource(redis.Channel._brpop_read)
    for name in (
        "_queue_cycle.consume(",
        "_q_for_pri(",
        "priority_steps",
        "_in_poll",
        "_brpop_sent_at",
        "send_command",
    ):
        assert name in start
    for name in ("parse_response(", "rsplit(self.sep", "_queue_cycle.rotate(", "connection._deliver(", "raise Empty()"):
        assert name in read
    assert "_in_poll = None" in read
    assert "_flush_brpop_reauth()" in read
    assert "self._expires" in inspect.getsource(redis.Channel._put)
    assert callable(redis.QoS._remove_from_indices)
    assert "channel._brpop_start()" in inspect.getsource(redis.MultiChannelPoller._register_BRPOP)
