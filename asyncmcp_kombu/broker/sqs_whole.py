"""Responses that broke off: an error, and not an answer without content.

botocore takes what came before a connection was lost for the whole response, since it does not compare the length with
`Content-Length`: half a receive is then a queue without messages, half a GetQueueUrl an answer that lacks its URL, and
half a batch one of which nothing failed.
"""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import IncompleteReadError


def only_whole_responses(client: Any) -> None:
    """From now on a boto3 client of SQS or SNS raises IncompleteReadError, a BotoCoreError, for such a response.

    Uses botocore's event `before-parse`, which it sends since 1.34 and does not document.
    tests/brokers/test_sqs_whole.py fails when it goes.
    """
    client.meta.events.register("before-parse", _check, unique_id="asyncmcp-kombu-whole")


def _check(response_dict: dict[str, Any], **_: Any) -> None:
    headers, body = response_dict["headers"], response_dict["body"]
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        return  # there urllib3 misses the last chunk
    expected = headers.get("Content-Length", "")
    if not expected and _reads_as_whole(body):  # a proxy, or a stub in a test, may do without
        return
    if not expected.isdecimal() or int(expected) != len(body):
        raise IncompleteReadError(actual_bytes=len(body), expected_bytes=expected or "more")


def _reads_as_whole(body: bytes) -> bool:
    if body.startswith(b"<"):
        return True  # XML: boto3 says itself when it breaks off
    try:
        json.loads(body)
    except ValueError:
        return False
    return True
