"""Every error has a JSON-RPC code and a stable reason, and its text says what to do."""

from __future__ import annotations

import pytest

from asyncmcp_kombu import errors
from asyncmcp_kombu.broker.connection import unreachable
from asyncmcp_kombu.errors import AsyncMcpError, BrokerUnreachable, MessageTooLarge


def every_class() -> list[type[AsyncMcpError]]:
    found, todo = [], [AsyncMcpError]
    while todo:
        one = todo.pop()
        todo += one.__subclasses__()
        if one.__module__ == errors.__name__:
            found.append(one)
    return sorted(found, key=lambda one: one.__name__)


def example(kind: type[AsyncMcpError]) -> AsyncMcpError:
    return MessageTooLarge(2_000_000, 1_048_576) if kind is MessageTooLarge else kind("what was wrong")


CODES = {
    "AsyncMcpError": (-32603, "internal"),
    "BrokerError": (-32603, "broker"),
    "BrokerUnreachable": (-32603, "broker-unreachable"),
    "CallError": (-32603, "internal"),
    "CallRejected": (-32015, "rejected"),
    "CeleryMessageRefused": (-32600, "celery-message"),
    "ConfigurationError": (-32603, "configuration"),
    "EnvelopeError": (-32600, "invalid-envelope"),
    "MessageTooLarge": (-32013, "too-large"),
    "MirrorMismatch": (-32020, "mirror-mismatch"),
    "NotJson": (-32700, "not-json"),
    "NotJsonRpc": (-32600, "not-jsonrpc"),
    "OutcomeUnknown": (-32012, "outcome-unknown"),
    "PublishError": (-32603, "publish"),
    "QueueNotFound": (-32603, "queue-not-found"),
    "ReplyAddressRefused": (-32600, "reply-address"),
    "ReplyTooLarge": (-32014, "reply-too-large"),
    "RetriesExhausted": (-32016, "retries-exhausted"),
    "SessionRefused": (-32600, "session"),
    "TaskFailed": (-32603, "task-failed"),
    "TimeLimitReached": (-32011, "time-limit"),
    "TooManyReceives": (-32017, "too-many-receives"),
    "WorkerLost": (-32010, "worker-lost"),
}


@pytest.mark.parametrize(("name", "expected"), CODES.items())
def test_codes_and_reasons_are_those_that_programs_rely_on(name, expected):
    kind = getattr(errors, name)
    assert (kind.code, kind.reason) == expected


@pytest.mark.parametrize("kind", every_class(), ids=lambda kind: kind.__name__)
def test_every_error_says_on_the_wire_what_it_is(kind):
    error = example(kind)
    data = error.error_data()
    assert data.code == kind.code < -32000
    assert data.message == str(error) != ""
    assert data.data["reason"] == kind.reason
    assert kind.__doc__


def test_a_code_of_our_own_means_one_thing_only():
    own = [kind.code for kind in every_class() if -32019 <= kind.code <= -32000]
    assert len(own) == len(set(own))
    assert all(-32018 <= code <= -32010 for code in own)


def test_a_message_too_large_names_size_limit_and_setting():
    error = MessageTooLarge(2_000_000, 1_048_576, request_id=7)
    assert "2,000,000" in str(error)
    assert "1,048,576" in str(error)
    assert "ASYNCMCP_MAX_MESSAGE_BYTES" in str(error)
    assert error.request_id == 7
    assert error.error_data().data == {"reason": "too-large", "size": 2_000_000, "limit": 1_048_576}


def test_an_unreachable_broker_names_the_setting_and_the_command():
    error = unreachable(OSError(111, "Connection refused"))
    assert "ASYNCMCP_BROKER_URL" in str(error)
    assert "asyncmcp-kombu local" in str(error)
    assert "Connection refused" in str(error)
    assert isinstance(error, ConnectionError)
    assert unreachable(error) is error


def test_an_unreachable_broker_is_caught_as_a_connection_error_and_a_bad_setting_as_a_value_error():
    assert issubclass(BrokerUnreachable, ConnectionError)
    assert issubclass(errors.ConfigurationError, ValueError)
