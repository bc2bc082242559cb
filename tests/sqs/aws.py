"""Queues and topics for one test on the embedded endpoint, made and removed with plain boto3."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import urlsplit

import boto3

from tests import services

REGION = "us-east-1"


class Aws:
    """boto3 clients to the endpoint, and what was made with them under a prefix."""

    def __init__(self, broker_url: str) -> None:
        parts = urlsplit(broker_url)
        self.broker_url, self.prefix = broker_url, services.new_prefix()
        self.endpoint = f"http://{parts.hostname}:{parts.port}"
        self.sqs, self.sns = self.client("sqs"), self.client("sns")

    def client(self, service: str, **options: Any) -> Any:
        return boto3.client(service, **self.options, **options)

    @property
    def options(self) -> dict[str, str]:
        keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
        return {"endpoint_url": self.endpoint, "region_name": REGION, **keys}

    @property
    def env(self) -> dict[str, str]:
        """For a process that calls `boto3.client("sqs")` with nothing else."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ASYNCMCP_"))},
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "ASYNCMCP_SECRET_KEY": "0123456789abcdef0123456789abcdef",
        }

    def queue(self, name: str, **attributes: str) -> str:
        if name.endswith(".fifo"):
            attributes["FifoQueue"] = "true"
        return self.sqs.create_queue(QueueName=self.prefix + name, Attributes=attributes)["QueueUrl"]

    def topic(self, name: str) -> str:
        attributes = {"FifoTopic": "true"} if name.endswith(".fifo") else {}
        return self.sns.create_topic(Name=self.prefix + name, Attributes=attributes)["TopicArn"]

    def arn_of(self, queue_url: str) -> str:
        answer = self.sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
        return answer["Attributes"]["QueueArn"]

    def subscribe(self, topic: str, queue_url: str, *, raw: bool, filter_policy: Any = None) -> str:
        attributes = {"RawMessageDelivery": str(raw).lower()}
        if filter_policy is not None:
            attributes["FilterPolicy"] = json.dumps(filter_policy)
        return self.sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=self.arn_of(queue_url),
            Attributes=attributes,
            ReturnSubscriptionArn=True,
        )["SubscriptionArn"]

    def depth(self, queue_url: str) -> tuple[int, int]:
        """Messages that are visible, and that somebody holds."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]
        return int(attributes[names[0]]), int(attributes[names[1]])

    def send(self, queue_url: str, body: Any, **attributes: str) -> None:
        self.sqs.send_message(
            QueueUrl=queue_url,
            MessageBody=body if isinstance(body, str) else json.dumps(body),
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
        )

    def receive(self, queue_url: str, wait: int = 10) -> dict[str, Any]:
        """The next message, removed from the queue."""
        answer = self.sqs.receive_message(
            QueueUrl=queue_url, WaitTimeSeconds=wait, MessageAttributeNames=["All"], MaxNumberOfMessages=1
        )
        (message,) = answer["Messages"]
        self.sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
        return message

    def cleanup(self) -> None:
        services.cleanup_queues(self.broker_url, self.prefix, replies=True)
