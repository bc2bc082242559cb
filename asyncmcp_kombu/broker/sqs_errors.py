"""What an error of boto3 means: the queue is gone, AWS refuses, or it may go well a moment later."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from asyncmcp_kombu.errors import BrokerUnreachable, PublishError, QueueNotFound

MISSING_QUEUE = {"QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"}

_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
"""Credentials that are rotated: boto3 finds the next ones by itself.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html"""


def error_code(error: Any) -> str:
    """AWS' code for a refusal; empty for whatever else went wrong."""
    return error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""


def is_passing(error: Any) -> bool:
    """Whether trying again may help: network, throttling, a 5xx, expired credentials; not a missing queue or right."""
    if not isinstance(error, ClientError):
        return True
    code, status = error_code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    return code in _EXPIRED or "Throttl" in code or status >= 500


def explain(error: Any) -> Exception:
    """A boto3 error as one of ours, saying what to do."""
    if error_code(error) in MISSING_QUEUE:
        return QueueNotFound(f"the SQS queue does not exist (any more): {error}")
    if not is_passing(error):
        return PublishError(f"SQS refused the request: {error}")
    return BrokerUnreachable(
        f"SQS cannot be reached: {error}; check ASYNCMCP_BROKER_URL and the credentials, or start the embedded one "
        "with `asyncmcp-kombu local`"
    )
