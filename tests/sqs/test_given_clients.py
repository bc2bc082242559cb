"""The caller's boto3 client is what is used: its endpoint, its credentials, its hooks; polls go through its sibling."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.credentials import Credentials

from asyncmcp_kombu.broker.sqs_clients import Clients
from asyncmcp_kombu.broker.sqs_sibling import GivenClients, sibling_of
from tests.sqs.aws import Aws


@pytest.fixture
def client() -> Any:
    return boto3.client(
        "sqs",
        region_name="eu-north-1",
        endpoint_url="http://127.0.0.1:9",
        aws_access_key_id="AKID",
        aws_secret_access_key="shh",
        config=Config(user_agent_extra="the-callers", proxies={"http": "http://127.0.0.1:8"}),
    )


def test_a_sibling_is_like_its_client_with_the_very_same_credentials(client: Any):
    sibling = sibling_of(client, Config(read_timeout=30, retries={"total_max_attempts": 1}))
    assert sibling is not client
    assert isinstance(sibling._get_credentials(), Credentials)
    assert sibling._get_credentials() is client._get_credentials()
    assert (sibling.meta.region_name, sibling.meta.endpoint_url) == ("eu-north-1", "http://127.0.0.1:9")
    assert sibling.meta.config.user_agent_extra == "the-callers"
    assert sibling.meta.config.proxies == client.meta.config.proxies
    assert sibling.meta.config.read_timeout == 30


def test_a_given_client_is_used_and_never_closed(client: Any, monkeypatch: pytest.MonkeyPatch):
    closed: list[Any] = []
    monkeypatch.setattr(client, "close", lambda: closed.append(client))
    clients = Clients(GivenClients(client))

    def never(*_: Any) -> Any:
        raise AssertionError

    assert clients.get("requests", never) is client
    assert clients.get("polls", never) is not client
    clients.close()
    assert closed == []


def test_the_endpoint_knows_the_sibling(aws: Aws):
    url = aws.queue("requests")
    sibling = sibling_of(aws.sqs, Config(read_timeout=30))
    sibling.send_message(QueueUrl=url, MessageBody="hi")
    assert aws.receive(url)["Body"] == "hi"
