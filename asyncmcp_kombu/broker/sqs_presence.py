"""The tag of an SQS queue that says when its owner was last seen; and looking at all queues of a server."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from asyncmcp_kombu.broker.presence import Sighting
from asyncmcp_kombu.broker.sqs_errors import MISSING_QUEUE, error_code
from asyncmcp_kombu.errors import BrokerError, QueueNotFound
from asyncmcp_kombu.topology import Topology

logger = logging.getLogger(__name__)

SEEN_TAG = "asyncmcp-seen"
"""Epoch seconds."""


def tag_as_seen(client: Any, queue_url: str, *, warn: bool = True) -> bool:
    """Whether the queue could be tagged; that it cannot is logged, as a warning or else for debugging.

    Raises:
        QueueNotFound: the queue does not exist (any more).
    """
    try:
        client.tag_queue(QueueUrl=queue_url, Tags={SEEN_TAG: str(int(time.time()))})
    except (BotoCoreError, ClientError, OSError) as error:
        if error_code(error) in MISSING_QUEUE:
            raise QueueNotFound(f"the queue was deleted: {error}") from None
        logger.log(
            logging.WARNING if warn else logging.DEBUG,
            "cannot tag %s as in use: %s; this needs sqs:TagQueue, without which `asyncmcp-kombu queues prune` may "
            "take the queue for abandoned",
            queue_url,
            error,
        )
        return False
    return True


def sightings(client: Any, topology: Topology) -> Iterator[Sighting]:
    """The server's queues, each looked at when it is its turn; one that is deleted meanwhile is left out.

    Raises:
        BrokerError: AWS refuses.
    """
    stem = topology.reply("").removesuffix("reply-")
    try:
        pages = client.get_paginator("list_queues").paginate(QueueNamePrefix=stem, PaginationConfig={"PageSize": 1000})
        urls = {url.rpartition("/")[2]: url for page in pages for url in page.get("QueueUrls", ())}
        for name, url in sorted(urls.items()):
            kind = topology.kind_of(name)
            if kind is not None:
                sighting = _look_at(client, name, url, owned=kind in ("reply", "control", "durable"))
                if sighting is not None:
                    yield sighting
    except ClientError as error:
        raise BrokerError(
            f"cannot look at the queues: {error}; this needs sqs:ListQueues, sqs:GetQueueAttributes and "
            "sqs:ListQueueTags (docs/operating.md)"
        ) from error


def _look_at(client: Any, name: str, url: str, *, owned: bool) -> Sighting | None:
    try:
        answer = client.get_queue_attributes(
            QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages", "CreatedTimestamp"]
        )
        tags: dict[str, str] = client.list_queue_tags(QueueUrl=url).get("Tags", {}) if owned else {}
    except ClientError as error:
        if error_code(error) in MISSING_QUEUE:
            return None
        raise
    attributes, text = answer["Attributes"], tags.get(SEEN_TAG, "")
    seen = float(text) if text.isdecimal() else None
    made = float(attributes["CreatedTimestamp"])
    return Sighting(name, int(attributes["ApproximateNumberOfMessages"]), seen, seen or made)
