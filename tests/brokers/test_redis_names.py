"""The private names of Kombu 5.7 on which broker/redis.py rests are there, and mean what they meant."""

from __future__ import annotations

import inspect

from kombu.transport import redis

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


def test_leases_are_times_in_a_sorted_set_that_append_writes():
    append = inspect.getsource(redis.QoS.append)
    assert "self.unacked_index_key" in append
    assert "zadd" in append
    assert "time()" in append
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
