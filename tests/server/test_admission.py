"""Which reply addresses are served: reply queues of this server, and its events exchange for one known client."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from asyncmcp_kombu.errors import ReplyAddressRefused
from asyncmcp_kombu.server.admission import Admission
from asyncmcp_kombu.server.sessions import Sessions
from asyncmcp_kombu.topology import Topology, queue_name_of

TOPOLOGY = Topology("workers")
REQUEST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
NOTIFICATION = {"jsonrpc": "2.0", "method": "notifications/initialized"}


ADMISSION = Admission(TOPOLOGY, Sessions(TOPOLOGY.server, [b"k" * 32]), 10_000)


def admitted(message: dict[str, Any], **headers: str) -> str | None:
    arrived = SimpleNamespace(body=json.dumps(message), headers={"MessageType": "jsonrpc", **headers}, delivery_info={})
    return ADMISSION.admit(arrived).reply_to


@pytest.mark.parametrize(
    "headers",
    [
        {"ReplyTo": TOPOLOGY.reply("ab12")},
        {"ReplyTo": TOPOLOGY.durable_reply("billing")},
        {"ReplyTo": "https://sqs.eu-west-1.amazonaws.com/1/" + TOPOLOGY.reply("ab12")},
        {"ReplyTo": TOPOLOGY.events, "ClientId": "billing-1"},
    ],
)
def test_an_address_of_this_server_is_admitted(headers: dict[str, str]) -> None:
    assert admitted(REQUEST, **headers) == queue_name_of(headers["ReplyTo"])


@pytest.mark.parametrize("message", [REQUEST, NOTIFICATION])
@pytest.mark.parametrize(
    "headers",
    [
        {"ReplyTo": TOPOLOGY.events},
        {"ReplyTo": TOPOLOGY.events, "ClientId": "*"},
        {"ReplyTo": TOPOLOGY.events, "ClientId": "a\x06b"},
        {"ReplyTo": "https://sqs.eu-west-1.amazonaws.com/1/" + TOPOLOGY.events, "ClientId": "billing-1"},
        {"ReplyTo": Topology("others").events, "ClientId": "billing-1"},
        {"ReplyTo": TOPOLOGY.control, "ClientId": "billing-1"},
        {"ReplyTo": TOPOLOGY.requests, "ClientId": "billing-1"},
        {"ReplyTo": "payroll"},
    ],
)
def test_any_other_is_refused(message: dict[str, Any], headers: dict[str, str]) -> None:
    with pytest.raises(ReplyAddressRefused):
        admitted(message, **headers)


def test_a_notification_needs_no_address() -> None:
    assert admitted(NOTIFICATION) is None
