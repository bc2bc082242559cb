"""What SNS answers to a batch, message by message; its limit; a topic that is gone."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from asyncmcp_kombu.broker.sqs_publish import TOPIC_BYTES, publish_all
from asyncmcp_kombu.broker.sqs_topics import KnownTopics, Topics
from asyncmcp_kombu.envelope import MAX_BYTES
from asyncmcp_kombu.errors import BrokerUnreachable, MessageTooLarge, PublishError


def message(body: str = "{}", **headers: Any) -> dict[str, Any]:
    return {"body": body, "headers": {"MessageType": "jsonrpc", **headers}, "properties": {}}


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "Publish")


class Sns:
    """Takes down what is asked of it; `answers` are given to publish and publish_batch, exceptions raised."""

    def __init__(self, *answers: Any, topic_limit: str | None = None) -> None:
        self.answers, self.requests, self.created = list(answers), [], []
        self._topic_limit = topic_limit

    def create_topic(self, Name: str) -> dict[str, str]:
        self.created.append(Name)
        return {"TopicArn": f"arn:{Name}"}

    def get_topic_attributes(self, TopicArn: str) -> dict[str, Any]:
        return {"Attributes": {"MaximumMessageSize": self._topic_limit} if self._topic_limit else {}}

    def publish(self, **request: Any) -> dict[str, Any]:
        return self._answer([request])

    def publish_batch(self, TopicArn: str, PublishBatchRequestEntries: list[dict[str, Any]]) -> dict[str, Any]:
        return self._answer([{"TopicArn": TopicArn, **entry} for entry in PublishBatchRequestEntries])

    def _answer(self, request: list[dict[str, Any]]) -> dict[str, Any]:
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else {}
        if isinstance(answer, Exception):
            raise answer
        return answer


def published(sns: Sns, *messages: tuple[str, dict[str, Any]], max_bytes: int = MAX_BYTES) -> list[Exception | None]:
    topics = Topics(lambda: sns, lambda: None, KnownTopics())
    return list(publish_all(sns, topics, messages, max_bytes))


def test_one_message_is_one_publish_with_its_body_and_attributes():
    sns = Sns()
    assert published(sns, ("e", message('{"x":1}', Audience="*", Sequence=3))) == [None]
    ((request,),) = sns.requests
    assert request == {
        "TopicArn": "arn:e",
        "Message": '{"x":1}',
        "MessageAttributes": {
            "MessageType": {"DataType": "String", "StringValue": "jsonrpc"},
            "Audience": {"DataType": "String", "StringValue": "*"},
            "Sequence": {"DataType": "Number", "StringValue": "3"},
        },
    }


def test_several_go_in_batches_of_ten_per_topic_in_order():
    sns = Sns()
    assert published(sns, *((("e", "f")[n % 2], message(str(n))) for n in range(24))) == [None] * 24
    assert sns.created == ["e", "f"]
    assert [len(batch) for batch in sns.requests] == [10, 10, 2, 2]
    for topic, first in (("arn:e", 0), ("arn:f", 1)):
        bodies = [one["Message"] for batch in sns.requests for one in batch if one["TopicArn"] == topic]
        assert bodies == [str(n) for n in range(first, 24, 2)]


def test_a_batch_is_no_larger_than_one_message_may_be():
    sns = Sns()
    published(sns, *(("e", message("x" * 100_000)) for _ in range(5)))
    assert [len(batch) for batch in sns.requests] == [2, 2, 1]


def test_what_failed_through_no_fault_of_its_own_is_sent_again_by_itself():
    failed = [{"Id": "0", "SenderFault": True, "Code": "Bad", "Message": "no"}, {"Id": "2", "SenderFault": False}]
    sns = Sns({"Failed": failed})
    outcomes = published(sns, *(("e", message(str(n))) for n in range(3)))
    assert [type(outcome) for outcome in outcomes] == [PublishError, type(None), type(None)]
    assert [[one["Message"] for one in batch] for batch in sns.requests] == [["0", "1", "2"], ["2"]]


@pytest.mark.parametrize("count", [1, 3])
def test_a_topic_that_was_deleted_is_made_again_once(count):
    sns = Sns(refusal("NotFound"))
    assert published(sns, *(("e", message()) for _ in range(count))) == [None] * count
    assert sns.created == ["e", "e"]
    stubborn = Sns(refusal("NotFound"), refusal("NotFound"))
    outcomes = published(stubborn, *(("e", message()) for _ in range(count)))
    assert {type(outcome).__name__ for outcome in outcomes} == {"TopicNotFound"}


def test_refusals_and_a_broker_that_is_away_are_told_apart():
    (refused,) = published(Sns(refusal("AuthorizationError")), ("e", message()))
    assert isinstance(refused, PublishError)
    assert "sns:Publish" in str(refused)
    (away,) = published(Sns(EndpointConnectionError(endpoint_url="http://x")), ("e", message()))
    assert isinstance(away, BrokerUnreachable)


@pytest.mark.parametrize(
    ("topic_limit", "max_bytes", "limit"),
    [(None, MAX_BYTES, TOPIC_BYTES), ("1048576", MAX_BYTES, None), ("1048576", 300_000, 300_000)],
)
def test_the_limit_is_the_topics_own(topic_limit, max_bytes, limit):
    small, sns = message(), Sns(topic_limit=topic_limit)
    large = message("x" * 400_000)
    outcomes = published(sns, ("e", small), ("e", large), max_bytes=max_bytes)
    assert outcomes[0] is None
    if limit is None:
        assert outcomes[1] is None
    else:
        assert isinstance(outcomes[1], MessageTooLarge)
        assert outcomes[1].limit == limit
