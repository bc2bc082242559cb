"""The contract on the embedded SQS, and what a client in any language sees there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asyncmcp_kombu.envelope import compose, parse
from asyncmcp_kombu.errors import MessageTooLarge, QueueNotFound
from tests.brokers.driver import SOON, Arrivals, Driver, leave, numbered
from tests.brokers.leases import LeaseContract
from tests.brokers.network import NetworkBrokerContract
from tests.services import boto_sqs


class TestSqs(NetworkBrokerContract, LeaseContract):
    keeps_order = False

    @pytest.fixture
    def broker_url(self, sqs_url: str) -> str:
        return sqs_url

    @pytest.fixture
    def raw(self, broker_url: str) -> Any:
        return boto_sqs(broker_url)

    def exists(self, driver: Driver, queue_name: str) -> bool:
        client = boto_sqs(driver.url)
        try:
            client.get_queue_url(QueueName=queue_name)
        except client.exceptions.QueueDoesNotExist:
            return False
        return True

    def refusing_queue(self, driver: Driver) -> str:
        return driver.name("workers-reply-gone")

    def test_any_sqs_client_reads_the_json_text_and_its_attributes(self, driver: Driver, raw: Any):
        sent = compose({"jsonrpc": "2.0", "id": "ü", "method": "tools/list"}, client_id="c", expires_at=1.5)
        queue = driver.queue()
        driver.send(queue, sent)
        url = raw.get_queue_url(QueueName=queue.name)["QueueUrl"]
        (message,) = raw.receive_message(QueueUrl=url, MessageAttributeNames=["All"], WaitTimeSeconds=5)["Messages"]
        assert message["Body"] == sent.body.decode()
        assert json.loads(message["Body"]) == sent.message
        attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
        assert attributes == {name: str(value) for name, value in sent.headers().items()}
        assert message["MessageAttributes"]["ExpiresAt"]["DataType"] == "Number"

    @pytest.mark.parametrize("attributes", [{}, {"ReplyTo": {"DataType": "String", "StringValue": "r"}}])
    def test_any_sqs_client_may_write_with_few_attributes_or_none(self, driver: Driver, raw: Any, attributes: Any):
        queue, arrivals = driver.queue(), Arrivals()
        driver.inbox(queue, arrivals)
        url = raw.get_queue_url(QueueName=queue.name)["QueueUrl"]
        text = '{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
        raw.send_message(QueueUrl=url, MessageBody=text, MessageAttributes=attributes)
        (message,) = arrivals.take(1)
        received = parse(message.body, message.headers)
        assert (received.request_id, received.reply_to) == (1, "r" if attributes else None)
        assert message.content_type == "application/json"

    def test_whatever_else_is_on_the_queue_arrives_and_does_not_stop_the_inbox(self, driver: Driver, raw: Any):
        strange = ["not json", "5", "[]", "e30=", '{"body": 1, "headers": {}, "properties": {}}']
        queue, arrivals = driver.queue(), Arrivals()
        driver.inbox(queue, arrivals)
        url = raw.get_queue_url(QueueName=queue.name)["QueueUrl"]
        for body in strange:
            raw.send_message(QueueUrl=url, MessageBody=body)
        arrivals.take(len(strange))
        driver.send(queue, numbered(2))
        assert parse(arrivals.next().message.body, {}).request_id == 2

    def test_the_delivery_says_how_often_the_message_was_received(self, driver: Driver):
        queue, first, second = driver.queue(), Arrivals(leave), Arrivals()
        inbox = driver.inbox(queue, first)
        driver.send(queue, numbered(1))
        assert first.next().message.delivery_info["receive_count"] == 1
        inbox.close()
        driver.inbox(queue, second)
        assert second.next().message.delivery_info["receive_count"] == 2

    def test_a_message_for_a_queue_that_does_not_exist_fails_and_makes_no_queue(self, driver: Driver):
        name = driver.name("workers-reply-gone")
        error = driver.publisher().publish(name, numbered(1)).exception(SOON)
        assert isinstance(error, QueueNotFound)
        assert name in str(error)
        assert not self.exists(driver, name)

    def test_a_message_for_a_queue_that_was_deleted_and_made_again_arrives(self, driver: Driver, raw: Any):
        queue, arrivals, publisher = driver.queue(), Arrivals(), driver.publisher()
        publisher.publish(queue.name, numbered(1)).result(SOON)
        raw.delete_queue(QueueUrl=raw.get_queue_url(QueueName=queue.name)["QueueUrl"])
        assert isinstance(publisher.publish(queue.name, numbered(2)).exception(SOON), QueueNotFound)
        raw.create_queue(QueueName=queue.name)
        publisher.publish(queue.name, numbered(3)).result(SOON)
        driver.inbox(queue, arrivals)
        assert parse(arrivals.next().message.body, {}).request_id == 3

    def test_sqs_own_limit_is_checked_before_sending(self, driver: Driver):
        queue, publisher = driver.queue(), driver.publisher(max_bytes=10_000_000)
        large = compose({"jsonrpc": "2.0", "id": 1, "result": {"text": "x" * 1_100_000}})
        assert isinstance(publisher.publish(queue.name, large).exception(SOON), MessageTooLarge)
