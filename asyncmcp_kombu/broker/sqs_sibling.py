"""A second boto3 client like one that a caller gave us: for long polls, which must be interruptible and not retried.

Interrupting shuts sockets down, and on the caller's own client they may be the caller's. The sibling has the same
credentials (the very object, so they refresh), region, endpoint and configuration.

Private name of botocore 1.4x used here: `client._get_credentials`. tests/sqs/test_given_clients.py fails when it goes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from botocore.config import Config

from asyncmcp_kombu.broker.sqs_session import new_core_session


class GivenClients(NamedTuple):
    """The caller's boto3 clients. Never closed; from now on a response that breaks off is an error (`sqs_whole.py`)."""

    sqs: Any
    sns: Any = None


def sibling_of(client: Any, config: Config) -> Any:
    """A new client for the same service; `config` wins over the given client's.

    A CA bundle that was passed as `verify=` is not taken over; one from the environment or AWS' config file is.
    """
    session = new_core_session()
    session.register_component("credential_provider", _Same(client._get_credentials()))
    return session.create_client(
        client.meta.service_model.service_name,
        region_name=client.meta.region_name,
        endpoint_url=client.meta.endpoint_url,
        config=client.meta.config.merge(config),
    )


class _Same:
    """Botocore's credential provider, with one answer."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials

    def load_credentials(self) -> Any:
        return self._credentials
