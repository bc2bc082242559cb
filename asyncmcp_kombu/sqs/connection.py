"""A Kombu connection over a caller's own boto3 clients, and the queues that must be there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from kombu.connection import Connection

from asyncmcp_kombu.broker.sqs_errors import MISSING_QUEUE, error_code, explain
from asyncmcp_kombu.broker.sqs_sibling import GivenClients
from asyncmcp_kombu.errors import ConfigurationError, QueueNotFound
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.sqs.config import QueueConfig
from asyncmcp_kombu.topology import queue_name_of


def connector(config: QueueConfig, sqs: Any, sns: Any = None) -> Callable[[], Connection]:
    """Makes connections of our SQS transport that use the given clients."""
    options = {
        "given_clients": GivenClients(sqs, sns),
        "visibility_timeout": config.visibility_timeout_seconds,
        "wait_time_seconds": config.wait_time_seconds,
        "max_messages": config.max_messages,
        "longest_pause": config.poll_interval_seconds,
        "max_message_bytes": config.max_message_bytes,
    }
    return partial(Connection, "sqs://", transport="asyncmcp_kombu.broker.sqs:Transport", transport_options=options)


def settings_for(config: QueueConfig) -> Settings:
    """The settings that are no fields of ours, from the environment: the secret key, above all."""
    return Settings().model_copy(update={"max_message_bytes": config.max_message_bytes})


def require_queue(sqs: Any, url: str) -> None:
    """Blocks: call it in a thread.

    Raises:
        QueueNotFound: there is no such queue.
        BrokerUnreachable: SQS cannot be reached.
    """
    try:
        sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    except (BotoCoreError, ClientError, OSError) as error:
        if error_code(error) in MISSING_QUEUE:
            raise QueueNotFound(f"there is no queue {url}: create it, or correct the URL") from None
        if not isinstance(error, ClientError):
            raise explain(error) from error
        # Whoever may send and receive need not be allowed to look.


def ensure_queue(sqs: Any, url: str, visibility_timeout: int) -> None:
    """Create the queue unless it exists. Blocks: call it in a thread.

    Raises:
        ConfigurationError: a queue of that name has another URL.
        QueueNotFound: it is missing and may not be created.
        BrokerUnreachable: SQS cannot be reached.
    """
    try:
        require_queue(sqs, url)
    except QueueNotFound:
        name = queue_name_of(url)
        attributes = {"VisibilityTimeout": str(visibility_timeout)}
        if name.endswith(".fifo"):
            attributes["FifoQueue"] = "true"
        try:
            made = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        except (BotoCoreError, ClientError, OSError) as error:
            raise QueueNotFound(f"there is no queue {url}, and it cannot be created: {error}") from error
        if _account(made) != _account(url):
            raise ConfigurationError(f"queue URL {url!r}: the client's own account has it as {made!r}") from None


def _account(url: str) -> str:
    return url.rpartition("/")[0].rpartition("/")[2]
