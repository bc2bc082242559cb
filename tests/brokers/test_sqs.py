"""The contract on the embedded SQS, and what a client in any language sees there."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from asyncmcp_kombu.broker import presence, sqs_clients, sqs_presence
from asyncmcp_kombu.broker.exchanges import Binding
from asyncmcp_kombu.broker.prune import prune
from asyncmcp_kombu.envelope import compose, parse
from asyncmcp_kombu.errors import BrokerError, MessageTooLarge, PublishError, QueueNotFound
from asyncmcp_kombu.local import LocalEngine
from asyncmcp_kombu.topology import EVERYONE, Topology
from tests.brokers.driver import SOON, Arrivals, Driver, leave, numbered
from tests.brokers.exchanges import ExchangeContract
from tests.brokers.leases import LeaseContract
from tests.brokers.network import NetworkBrokerContract
from tests.brokers.proxy import Proxy
from tests.brokers.pruning import PruningContract
from tests.services import boto_sns, boto_sqs, subscriptions_on


class SnsTopics(ExchangeContract):
    """Exchanges as SNS shows them."""

    keeps_order = False

    def bound(self, driver: Driver) -> set[tuple[str, str, str]]:
        client = boto_sns(driver.url)
        found: set[tuple[str, str, str]] = set()
        for (topic, queue), arn in subscriptions_on(driver.url).items():
            if topic.startswith(driver.prefix):
                attributes = client.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
                assert attributes["RawMessageDelivery"] == "true"
                found |= {(topic, queue, audience) for audience in json.loads(attributes["FilterPolicy"])["Audience"]}
        return found

    def make_exchange(self, driver: Driver, name: str) -> None:
        boto_sns(driver.url).create_topic(Name=name, Tags=[{"Key": "made-by", "Value": "hand"}])

    def drop_exchange(self, driver: Driver, name: str) -> None:
        client = boto_sns(driver.url)
        client.delete_topic(TopicArn=client.create_topic(Name=name)["TopicArn"])


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with LocalEngine("moto", port=0) as engine:
        yield engine.broker_url


@pytest.mark.exhaustive
class TestSnsOnMoto(SnsTopics, PruningContract):
    """Another reading of AWS: a Subscribe with another filter changes the old one; the embedded engine ignores it."""

    knows_when_queues_were_made = True

    @pytest.fixture
    def driver(self, moto_url: str, prefix: str) -> Iterator[Driver]:
        driver = Driver(moto_url, prefix, visibility_timeout=2)  # its orphaned long polls swallow messages
        yield driver
        driver.close()

    def test_what_aws_refuses_fails_with_the_rights_that_are_needed_and_stops_nothing_else(self, driver: Driver):
        queue, name, raw = driver.reply_queue("a"), "é", boto_sqs(driver.url)  # no topic may be called so
        with pytest.raises(BrokerError, match="sns:Subscribe"):
            driver.inbox(queue, leave, temporary=True, bindings=[Binding(name, "a")])
        with pytest.raises(raw.exceptions.QueueDoesNotExist):
            raw.get_queue_url(QueueName=queue.name)
        inbox = driver.inbox(queue, leave, temporary=True)
        assert "sns:Subscribe" in str(inbox.bind(Binding(name, "a")).exception(SOON))
        inbox.bind(Binding(driver.exchange(), "a")).result(SOON)
        error = driver.publisher().publish_to(name, numbered(1, audience="a")).exception(SOON)
        assert isinstance(error, PublishError)
        assert "sns:Publish" in str(error)


class TestSqs(SnsTopics, NetworkBrokerContract, LeaseContract):
    knows_when_queues_were_made = True

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

    def test_the_first_message_to_a_queue_is_sent_although_the_answer_that_names_it_breaks_off(
        self, proxy: Proxy, proxied: Driver
    ):
        known, arrivals, publisher = proxied.queue("workers-a"), Arrivals(), proxied.publisher(retry_for=10)
        publisher.publish(known.name, numbered(0)).result(SOON)
        for n, after in enumerate((60, 300, 540), start=1):
            queue = proxied.queue(f"workers-{n}")
            proxy.break_off(after)
            publisher.publish(queue.name, numbered(n)).result(SOON)
            proxied.inbox(queue, arrivals)
            assert parse(arrivals.next().message.body, {}).request_id == n

    def test_a_fifo_queue_gets_a_burst_in_its_order_although_two_threads_may_send(self, driver: Driver, raw: Any):
        other, name = driver.queue(), driver.name("workers-requests.fifo")
        url = raw.create_queue(QueueName=name, Attributes={"FifoQueue": "true"})["QueueUrl"]
        publisher = driver.publisher()
        sent = [publisher.publish(other.name, numbered(n)) for n in range(100)]
        sent[-1].result(SOON)
        assert any(thread.name == "asyncmcp-publisher-2" for thread in threading.enumerate())
        sent += [publisher.publish(name, numbered(n)) for n in range(100)]
        assert not any(future.exception(SOON) for future in sent)
        arrived: list[int] = []
        while len(arrived) < 100:
            messages = raw.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=2)["Messages"]
            arrived += [json.loads(message["Body"])["id"] for message in messages]
            entries = [{"Id": str(i), "ReceiptHandle": one["ReceiptHandle"]} for i, one in enumerate(messages)]
            raw.delete_message_batch(QueueUrl=url, Entries=entries)
        assert arrived == list(range(100))

    def test_sqs_own_limit_is_checked_before_sending(self, driver: Driver):
        queue, publisher = driver.queue(), driver.publisher(max_bytes=10_000_000)
        large = compose({"jsonrpc": "2.0", "id": 1, "result": {"text": "x" * 1_100_000}})
        assert isinstance(publisher.publish(queue.name, large).exception(SOON), MessageTooLarge)

    # --- topics ---

    def policy(self, raw: Any, queue_name: str) -> list[dict[str, Any]]:
        url = raw.get_queue_url(QueueName=queue_name)["QueueUrl"]
        attributes = raw.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"]).get("Attributes", {})
        return json.loads(attributes.get("Policy") or '{"Statement": []}')["Statement"]

    def test_the_queues_policy_lets_its_topics_send_and_keeps_what_else_it_says(self, driver: Driver, raw: Any):
        queue, exchanges = driver.queue("workers-audit"), [driver.exchange(), driver.exchange("workers-control")]
        url = raw.get_queue_url(QueueName=queue.name)["QueueUrl"]
        own = {"Sid": "Own", "Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*"}
        raw.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Statement": own})})
        inbox = driver.inbox(queue, leave, bindings=[Binding(exchange, "a") for exchange in exchanges])
        inbox.bind(Binding(exchanges[0], "b")).result(SOON)
        kept, *ours = self.policy(raw, queue.name)
        assert kept == own
        assert {one["Condition"]["ArnEquals"]["aws:SourceArn"].rpartition(":")[2] for one in ours} == set(exchanges)
        for one in ours:
            assert (one["Effect"], one["Action"]) == ("Allow", "sqs:SendMessage")
            assert one["Principal"] == {"Service": "sns.amazonaws.com"}
            assert one["Resource"].endswith(f":{queue.name}")
            assert one["Sid"].isalnum()
        for binding in (Binding(exchanges[0], "a"), Binding(exchanges[0], "b"), Binding(exchanges[1], "a")):
            inbox.unbind(binding).result(SOON)
        assert self.policy(raw, queue.name) == [own]

    def test_another_process_adds_an_audience_and_removes_it(self, driver: Driver):
        exchange, queue, arrivals = driver.exchange(), driver.queue("workers-audit"), Arrivals()
        first = driver.inbox(queue, arrivals, bindings=[Binding(exchange, "a")])
        second = driver.inbox(queue, arrivals, bindings=[Binding(exchange, "b")])
        assert self.bound(driver) == {(exchange, queue.name, "a"), (exchange, queue.name, "b")}
        driver.announce(exchange, numbered(1, audience="a"), numbered(2, audience="b"))
        arrivals.take(2)
        second.unbind(Binding(exchange, "b")).result(SOON)
        assert self.bound(driver) == {(exchange, queue.name, "a")}
        first.unbind(Binding(exchange, "a")).result(SOON)
        assert self.bound(driver) == set()

    def test_a_queue_that_was_deleted_and_made_again_is_bound_again_when_asked(self, driver: Driver, raw: Any):
        exchange, queue, arrivals = driver.exchange(), driver.queue("workers-audit"), Arrivals()
        inbox = driver.inbox(queue, arrivals, bindings=[Binding(exchange, "a")])
        raw.delete_queue(QueueUrl=raw.get_queue_url(QueueName=queue.name)["QueueUrl"])
        assert isinstance(inbox.bind(Binding(exchange, "a")).exception(SOON), type(None))
        assert len(self.policy(raw, queue.name)) == 1
        driver.announce(exchange, numbered(1, audience="a"))
        arrivals.take(1)
        inbox.unbind(Binding(exchange, "a")).result(SOON)

    def test_an_owner_whose_queue_was_deleted_makes_it_again_with_its_bindings_at_its_next_word(
        self, driver: Driver, raw: Any, monkeypatch: pytest.MonkeyPatch
    ):
        exchange, queue, arrivals = driver.exchange(), driver.reply_queue("a"), Arrivals()
        driver.inbox(queue, arrivals, temporary=True, bindings=[Binding(exchange, "a")])
        raw.delete_queue(QueueUrl=raw.get_queue_url(QueueName=queue.name)["QueueUrl"])
        monkeypatch.setattr(presence, "BEAT", 0.0)
        give_up_at = time.monotonic() + SOON
        while arrivals.nothing_more(0.2) and time.monotonic() < give_up_at:
            driver.announce(exchange, numbered(1, audience="a"))
        assert self.exists(driver, queue.name)
        assert self.bound(driver) == {(exchange, queue.name, "a")}
        assert time.monotonic() < give_up_at

    def test_that_a_queue_may_not_be_tagged_is_said_once_and_is_no_failure(
        self, driver: Driver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ):
        monkeypatch.setattr(sqs_clients, "VALIDATED", {"requests"})
        monkeypatch.setattr(sqs_presence, "SEEN_TAG", 5)  # no key of a tag: boto3 refuses it
        monkeypatch.setattr(presence, "BEAT", 0.0)
        queue, arrivals = driver.reply_queue("a"), Arrivals()
        driver.inbox(queue, arrivals, temporary=True)
        driver.send(queue, *(numbered(n) for n in range(5)))
        arrivals.take(5)
        messages = [record.getMessage() for record in caplog.records]
        said = [text for text in messages if "sqs:TagQueue" in text and queue.name in text]
        assert len(said) == 1

    def test_subscriptions_of_queues_that_do_not_exist_any_more_are_pruned(self, driver: Driver, raw: Any):
        exchange, queue, living = driver.exchange(), driver.queue("workers-audit"), driver.queue("workers-other")
        driver.inbox(queue, leave, bindings=[Binding(exchange, "a")]).close()
        inbox = driver.inbox(living, leave, bindings=[Binding(exchange, "a")])
        foreign = "arn:aws:sqs:eu-west-1:999999999999:audit"
        topic = boto_sns(driver.url).create_topic(Name=exchange)["TopicArn"]
        boto_sns(driver.url).subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=foreign, Attributes={"FilterPolicy": '{"Audience": ["x"]}'}
        )
        raw.delete_queue(QueueUrl=raw.get_queue_url(QueueName=queue.name)["QueueUrl"])
        stale = f"{exchange} -> {queue.name}"
        with driver.connect() as connection:
            for dry_run in (True, False):
                assert prune(connection, Topology("workers", driver.prefix), 3600, dry_run=dry_run) == [stale]
            assert prune(connection, Topology("workers", driver.prefix), 3600) == []
        assert {queue for topic, queue in subscriptions_on(driver.url) if topic == exchange} == {living.name, "audit"}
        inbox.unbind(Binding(exchange, "a")).result(SOON)
        driver.queue("workers-audit")

    def test_a_message_of_the_topics_limit_arrives_and_one_byte_more_is_refused_before_sending(self, driver: Driver):
        exchange, arrivals = driver.exchange(), Arrivals()
        driver.inbox(driver.reply_queue("a"), arrivals, temporary=True, bindings=[Binding(exchange, EVERYONE)])

        def sized(text: str) -> Any:
            message = {"jsonrpc": "2.0", "method": "x", "params": {"x": text}}
            return dataclasses.replace(compose(message, audience=EVERYONE), timestamp=1.5)

        def size(envelope: Any) -> int:
            named = [(name, value) for name, value in envelope.headers().items()]
            return len(envelope.body) + sum(len(name) + len(str(value)) + len("String") for name, value in named)

        fitting = sized("y" * (262_144 - size(sized(""))))
        assert size(fitting) == 262_144
        driver.announce(exchange, fitting)
        arrivals.take(1)
        larger = sized("y" * (len(fitting.message["params"]["x"]) + 1))
        error = driver.publisher().publish_to(exchange, larger).exception(SOON)
        assert isinstance(error, MessageTooLarge)
        assert (error.size, error.limit) == (262_145, 262_144)
