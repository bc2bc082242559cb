"""SQS's own dead-lettering: the backstop for messages that kill every worker before it can refuse them."""

from __future__ import annotations

import json
import logging
from typing import Any

from botocore.exceptions import ClientError

logger = logging.getLogger(__name__)


def set_redrive_policy(client: Any, url: str, dead_url: str, max_receives: int) -> None:
    """Have SQS move a message to the dead-letter queue when it was received more than `max_receives` times.

    A policy that the queue has is left as it is. Rights that are missing are no failure: it is logged.
    """
    try:
        found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])
        if found.get("Attributes", {}).get("RedrivePolicy"):
            return
        dead = client.get_queue_attributes(QueueUrl=dead_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": str(max_receives)})
        client.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})
    except ClientError as error:
        logger.warning("the request queue has no redrive policy, and none could be set: %s", error)
