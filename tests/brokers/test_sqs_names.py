"""The private names of Kombu 5.7 on which broker/sqs.py rests are there, and mean what they meant."""

from __future__ import annotations

import inspect
from typing import get_args

import kombu
import pytest
from kombu.transport import SQS, virtual
from kombu.transport.SQS import exceptions

from asyncmcp_kombu.broker.sqs import Channel, Transport
from asyncmcp_kombu.broker.sqs_qos import QoS


def parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


def test_kombu_is_the_version_whose_private_names_are_used():
    assert kombu.__version__.startswith("5.7."), "look through broker/sqs.py and broker/redis.py, then change this"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("_put", ["self", "queue", "message", "kwargs"]),
        ("_update_queue_cache", ["self", "queue_name_prefix"]),
        ("_resolve_queue_url", ["self", "queue"]),
        ("_size", ["self", "queue"]),
        ("_new_boto_client", ["self", "service", "region", "access_key_id", "secret_access_key"]),
        ("canonical_queue_name", ["self", "queue_name"]),
        ("sqs", ["self", "queue"]),
    ],
)
def test_the_channel_has_the_names_that_are_overridden_or_called(name, expected):
    assert [one for one in parameters(getattr(SQS.Channel, name)) if one in expected] == expected


def test_a_client_for_sns_is_made_as_one_for_sqs():
    assert set(get_args(SQS._SUPPORTED_BOTO_SERVICES)) == {"sqs", "sns"}
    names = ["self", "message", "exchange", "routing_key"]
    assert parameters(virtual.Channel._inplace_augment_message) == names
    assert parameters(virtual.Channel.basic_publish)[:4] == names


@pytest.mark.parametrize(
    "name", ["_put", "_update_queue_cache", "_resolve_queue_url", "queue_delete", "basic_consume", "basic_publish"]
)
def test_what_is_overridden_here_exists_there(name):
    assert getattr(Channel, name) is not getattr(SQS.Channel, name)


def test_the_caches_are_made_by_the_channel():
    source = inspect.getsource(SQS.Channel.__init__) + inspect.getsource(SQS.Channel)
    for name in ("_queue_cache", "_noack_queues"):
        assert name in source
    assert "self._update_queue_cache(" in inspect.getsource(SQS.Channel.__init__)


def test_a_publish_ends_in_put_and_a_delivery_in_the_callbacks_of_the_transport():
    assert "self._put(routing_key, message" in inspect.getsource(virtual.Channel.basic_publish)
    consume = inspect.getsource(virtual.Channel.basic_consume)
    assert "self._tag_to_queue[consumer_tag] = queue" in consume
    assert "self.connection._callbacks[queue] = _callback" in consume


def test_the_qos_has_the_names_that_are_used():
    for name in ("_flush", "_on_collect", "_delivered", "_dirty"):
        assert name in inspect.getsource(virtual.QoS)
    assert issubclass(QoS, virtual.QoS)
    assert Transport.Channel is Channel


def test_the_exceptions_have_their_names():
    assert issubclass(exceptions.DoesNotExistQueueException, Exception)
    assert issubclass(exceptions.UndefinedQueueException, Exception)
