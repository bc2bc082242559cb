"""The boto3 clients of one connection, made when they are first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Literal

from botocore.config import Config

from asyncmcp_kombu.broker.sqs_http import InterruptibleRequests
from asyncmcp_kombu.broker.sqs_sibling import GivenClients, sibling_of
from asyncmcp_kombu.broker.sqs_whole import only_whole_responses

Purpose = Literal["requests", "polls", "topics"]
Service = Literal["sqs", "sns"]
NewClient = Callable[[Service, Config], Any]
"""Makes a client for a service with the connection's credentials and endpoint."""


VALIDATED: set[Purpose] = {"topics"}
"""Whose requests boto3 checks before it sends them, as it does by default."""
_USER_AGENT = f"asyncmcp-kombu/{version('asyncmcp-kombu')} botocore/{version('botocore')}"
"""boto3 puts its own together anew for each request, which takes a seventh of the request's CPU time."""


class Clients:
    """One for SQS' `requests`, one for its long `polls`, which can be interrupted, and SNS' for `topics`.

    Args:
        given: a caller's own clients, used instead, but for `polls`: that is a sibling of the caller's.
    """

    def __init__(self, given: GivenClients | None = None) -> None:
        self._given = given
        self._lock = threading.Lock()
        self._clients: dict[Purpose, Any] = {}
        self._polls: InterruptibleRequests | None = None
        self.interruptions = 0

    def get(self, purpose: Purpose, new_client: NewClient, options: dict[str, Any] | None = None) -> Any:
        """The client for the purpose. `options` are botocore's, and win over ours."""
        with self._lock:
            if purpose not in self._clients:
                attempts = {"mode": "standard", "total_max_attempts": 1 if purpose == "polls" else 2}
                timeouts = {"connect_timeout": 5, "read_timeout": 30 if purpose == "polls" else 10}
                # What we send is well-formed; to validate it again takes a third of the time of a batch.
                lean = {"parameter_validation": purpose in VALIDATED, "user_agent": _USER_AGENT}
                config = {"max_pool_connections": 32, "retries": attempts, **timeouts, **lean, **(options or {})}
                if self._given is None:
                    client = new_client("sns" if purpose == "topics" else "sqs", Config(**config))
                else:
                    client = _given(self._given, purpose, Config(**config))
                only_whole_responses(client)
                if purpose == "polls":
                    self._polls = InterruptibleRequests(client)
                self._clients[purpose] = client
            return self._clients[purpose]

    def made(self, purpose: Purpose) -> Any:
        """The client for the purpose, which something needed before. Raises KeyError."""
        return self._clients[purpose]

    def interrupt_polls(self) -> None:
        self.interruptions += 1
        if self._polls is not None:
            self._polls.interrupt()

    def close(self) -> None:
        for purpose, client in self._clients.items():
            if self._given is None or purpose == "polls":  # the others are the caller's
                client.close()


def _given(given: GivenClients, purpose: Purpose, config: Config) -> Any:
    match purpose:
        case "polls":
            return sibling_of(given.sqs, config)
        case "requests":
            return given.sqs
        case "topics":
            return given.sns
