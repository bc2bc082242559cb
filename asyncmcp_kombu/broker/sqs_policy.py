"""The policy of an SQS queue, as JSON text, and our statements in it: which topics may send to the queue.

By the statements with our Sid a queue knows its topics, whoever deletes it. Other statements are left alone.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

_SID = "AsyncmcpTopic"


def allowing(policy: str, topic: str, queue: str) -> str:
    """The policy with a statement that lets exactly this topic send to the queue; both by their ARNs."""
    statement = {
        "Sid": _sid(topic),
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    present = _statements(policy)
    if statement in present:
        return policy
    return _text(policy, [*_without(present, topic), statement])


def without(policy: str, topic: str) -> str:
    """The policy without the topic's statement; empty when none is left, which removes a policy from its queue."""
    present = _statements(policy)
    left = _without(present, topic)
    return policy if len(left) == len(present) else _text(policy, left)


def topics_in(policy: str) -> set[str]:
    """ARNs of the topics that `allowing` let in."""
    ours = [one for one in _statements(policy) if str(one.get("Sid", "")).startswith(_SID)]
    return {one["Condition"]["ArnEquals"]["aws:SourceArn"] for one in ours}


def _statements(policy: str) -> list[dict[str, Any]]:
    found: Any = json.loads(policy or "{}").get("Statement", [])
    return found if isinstance(found, list) else [found]


def _without(statements: list[dict[str, Any]], topic: str) -> list[dict[str, Any]]:
    return [one for one in statements if one.get("Sid") != _sid(topic)]


def _sid(topic: str) -> str:
    """One statement per topic. A Sid may hold letters and digits only."""
    return _SID + hashlib.sha256(topic.encode()).hexdigest()[:16]


def _text(policy: str, statements: list[dict[str, Any]]) -> str:
    if not statements:
        return ""
    return json.dumps({"Version": "2012-10-17", **json.loads(policy or "{}"), "Statement": statements})
