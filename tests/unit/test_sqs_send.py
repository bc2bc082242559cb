"""Batches to SQS: what goes together, and what becomes of each message when a batch fails in part.

Only the batching is under test here, so the client is one that records calls; the contract tests in
tests/brokers send to a real endpoint.
"""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from asyncmcp_kombu.broker.sqs_send import check_size, send_all
from asyncmcp_kombu.errors import BrokerUnreachable, MessageTooLarge, PublishError, QueueNotFound

LIMIT = 1_048_576


class RecordingClient:
    """Answers SendMessageBatch with the given failures by body, and SendMessage with the given errors."""

    def __init__(self, failed: dict[str, bool] | None = None, errors: dict[str, Exception] | None = None) -> None:
        self.failed, self.errors = failed or {}, errors or {}
        self.calls: list[tuple[str, list[str]]] = []

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> dict[str, Any]:
        self.calls.append((QueueUrl, [MessageBody]))
        if MessageBody in self.errors:
            raise self.errors[MessageBody]
        return {}

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        assert len({entry["Id"] for entry in Entries}) == len(Entries)
        assert all("QueueUrl" not in entry for entry in Entries)
        self.calls.append((QueueUrl, [entry["MessageBody"] for entry in Entries]))
        if "batch" in self.errors:
            raise self.errors["batch"]
        failed = [
            {
                "Id": entry["Id"],
                "SenderFault": self.failed[entry["MessageBody"]],
                "Code": "Bad",
                "Message": "why",
            }
            for entry in Entries
            if entry["MessageBody"] in self.failed
        ]
        return {"Failed": failed} if failed else {}


def entries(*bodies: str, url: str = "q") -> list[dict[str, Any]]:
    return [{"QueueUrl": url, "MessageBody": body} for body in bodies]


def refused(code: str, status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}},
        "SendMessage",
    )


def test_one_message_is_sent_by_itself():
    client = RecordingClient()
    assert send_all(client, entries("a"), LIMIT) == [None]
    assert client.calls == [("q", ["a"])]


def test_several_messages_to_a_queue_are_one_request_in_order():
    client = RecordingClient()
    assert send_all(client, entries("a", "b", "c"), LIMIT) == [None] * 3
    assert client.calls == [("q", ["a", "b", "c"])]


def test_a_request_holds_ten_messages():
    client = RecordingClient()
    bodies = [str(n) for n in range(23)]
    assert send_all(client, entries(*bodies), LIMIT) == [None] * 23
    assert [len(sent) for _, sent in client.calls] == [10, 10, 3]
    assert [body for _, sent in client.calls for body in sent] == bodies


def test_a_request_is_no_larger_than_a_message_may_be():
    client = RecordingClient()
    bodies = ["a" * 400, "b" * 600, "c" * 1, "d" * 1_000, "e" * 1_000]
    assert send_all(client, entries(*bodies), 1_000) == [None] * 5
    assert [[len(body) for body in sent] for _, sent in client.calls] == [[400, 600], [1], [1_000], [1_000]]


def test_each_queue_has_its_own_requests_and_keeps_its_order():
    client = RecordingClient()
    mixed = [*entries("1", url="a"), *entries("1", url="b"), *entries("2", url="a"), *entries("2", url="b")]
    assert send_all(client, mixed, LIMIT) == [None] * 4
    assert sorted(client.calls) == [("a", ["1", "2"]), ("b", ["1", "2"])]


def test_what_failed_through_no_fault_of_its_own_is_sent_again_by_itself():
    client = RecordingClient(failed={"b": False})
    assert send_all(client, entries("a", "b", "c"), LIMIT) == [None] * 3
    assert client.calls == [("q", ["a", "b", "c"]), ("q", ["b"])]


def test_a_second_failure_is_reported_for_that_message_only():
    client = RecordingClient(failed={"b": False}, errors={"b": refused("InternalError", 500)})
    outcomes = send_all(client, entries("a", "b"), LIMIT)
    assert outcomes[0] is None
    assert isinstance(outcomes[1], BrokerUnreachable)


def test_a_senders_fault_is_reported_and_not_sent_again():
    client = RecordingClient(failed={"b": True})
    outcomes = send_all(client, entries("a", "b", "c"), LIMIT)
    assert outcomes[0] is outcomes[2] is None
    assert isinstance(outcomes[1], PublishError)
    assert "Bad: why" in str(outcomes[1])
    assert len(client.calls) == 1


@pytest.mark.parametrize("code", ["QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"])
@pytest.mark.parametrize("bodies", [("a",), ("a", "b")])
def test_a_missing_queue_is_said_to_every_message_for_it(code, bodies):
    client = RecordingClient(errors={"a": refused(code), "batch": refused(code)})
    assert [type(outcome) for outcome in send_all(client, entries(*bodies), LIMIT)] == [QueueNotFound] * len(bodies)


def test_a_missing_queue_does_not_stop_messages_for_another():
    client = RecordingClient(errors={"a": refused("QueueDoesNotExist")})
    outcomes = send_all(client, [*entries("a", url="gone"), *entries("b", url="there")], LIMIT)
    assert [type(outcome) for outcome in outcomes] == [QueueNotFound, type(None)]


@pytest.mark.parametrize("error", [EndpointConnectionError(endpoint_url="http://x"), ConnectionResetError("reset")])
@pytest.mark.parametrize("bodies", [("a",), ("a", "b")])
def test_an_unreachable_endpoint_is_said_to_every_message(error, bodies):
    client = RecordingClient(errors={"a": error, "batch": error})
    outcomes = send_all(client, entries(*bodies), LIMIT)
    assert [type(outcome) for outcome in outcomes] == [BrokerUnreachable] * len(bodies)
    assert "ASYNCMCP_BROKER_URL" in str(outcomes[0])


def test_the_size_is_checked_before_sqs_would_refuse():
    check_size({"MessageBody": "x" * 100}, 100)
    with pytest.raises(MessageTooLarge) as caught:
        check_size({"MessageBody": "x" * 101}, 100)
    assert caught.value.details() == {"size": 101, "limit": 100}
