"""Publishing to SNS topics: one Publish, or PublishBatch for several messages to one topic.

A batch holds ten messages and, together, as many bytes as one message may. As with SQS it may fail in part, and
every message gets its own outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from asyncmcp_kombu.broker.sqs_errors import error_code, is_passing
from asyncmcp_kombu.broker.sqs_message import size_of, to_entry
from asyncmcp_kombu.broker.sqs_send import Outcome, batches
from asyncmcp_kombu.broker.sqs_topics import MISSING_TOPIC, Topics
from asyncmcp_kombu.errors import BrokerUnreachable, MessageTooLarge, PublishError
from asyncmcp_kombu.topology import is_topic

TOPIC_BYTES = 262_144
"""The largest message of a topic, attributes included, unless its attribute MaximumMessageSize says more; up to
1 MiB, but then it has at most 100 subscriptions: https://docs.aws.amazon.com/sns/latest/dg/large-message-payloads.html
"""


class TopicNotFound(PublishError):
    """The topic was deleted since its ARN was learned."""

    reason = "topic-not-found"


def publish_all(
    client: Any, topics: Topics, messages: Sequence[tuple[str, dict[str, Any]]], max_bytes: int
) -> list[Outcome]:
    """Publish messages in Kombu's form to the topics of those names, in order, and return what became of each.

    A topic that does not exist is created; that nobody is subscribed is no error. Nothing above `max_bytes` or the
    topic's own limit is sent.
    """
    outcomes = _attempt(client, topics, messages, max_bytes)
    missing = [i for i, outcome in enumerate(outcomes) if isinstance(outcome, TopicNotFound)]
    missing = [i for i in missing if not is_topic(messages[i][0])]
    for i in missing:
        topics.forget(messages[i][0])
    for i, outcome in zip(missing, _attempt(client, topics, [messages[i] for i in missing], max_bytes), strict=True):
        outcomes[i] = outcome
    return outcomes


def _attempt(
    client: Any, topics: Topics, messages: Sequence[tuple[str, dict[str, Any]]], max_bytes: int
) -> list[Outcome]:
    outcomes: list[Outcome] = [None] * len(messages)
    entries: dict[int, dict[str, Any]] = {}
    for i, (name, message) in enumerate(messages):
        entry: dict[str, Any] = {}
        try:
            entry = to_entry(topics.arn(name), message, "TopicArn")
            _check_size(client, entry, max_bytes)
        except (BotoCoreError, ClientError, OSError) as error:
            outcomes[i] = _explain(error)
        except MessageTooLarge as error:
            outcomes[i] = error
        else:
            entries[i] = entry
    indices = list(entries)
    for batch in batches(list(entries.values()), TOPIC_BYTES, "TopicArn"):
        chosen = [indices[i] for i in batch]
        for i, outcome in zip(chosen, _send(client, [entries[i] for i in chosen]), strict=True):
            outcomes[i] = outcome
    return outcomes


def _check_size(client: Any, entry: dict[str, Any], max_bytes: int) -> None:
    size = size_of(entry)
    if size > TOPIC_BYTES:
        answer = client.get_topic_attributes(TopicArn=entry["TopicArn"])
        limit = int(answer["Attributes"].get("MaximumMessageSize", TOPIC_BYTES))
    else:
        limit = TOPIC_BYTES
    if size > min(limit, max_bytes):
        raise MessageTooLarge(size, min(limit, max_bytes), what="message for an SNS topic")


def _send(client: Any, entries: Sequence[dict[str, Any]]) -> list[Outcome]:
    topic = entries[0]["TopicArn"]
    if len(entries) == 1:
        try:
            client.publish(TopicArn=topic, **_message(entries[0]))
        except (BotoCoreError, ClientError, OSError) as error:
            return [_explain(error)]
        return [None]
    batch = [{"Id": str(i), **_message(entry)} for i, entry in enumerate(entries)]
    try:
        answer = client.publish_batch(TopicArn=topic, PublishBatchRequestEntries=batch)
    except (BotoCoreError, ClientError, OSError) as error:
        return [_explain(error)] * len(entries)
    outcomes: list[Outcome] = [None] * len(entries)
    for failed in answer.get("Failed", ()):
        i = int(failed["Id"])
        if failed.get("SenderFault"):
            outcomes[i] = PublishError(f"SNS refused the message: {failed.get('Code')}: {failed.get('Message', '')}")
        else:
            outcomes[i] = _send(client, [entries[i]])[0]
    return outcomes


def _message(entry: dict[str, Any]) -> dict[str, Any]:
    fifo = {key: entry[key] for key in ("MessageGroupId", "MessageDeduplicationId") if key in entry}
    return {"Message": entry["MessageBody"], "MessageAttributes": entry["MessageAttributes"], **fifo}


def _explain(error: Any) -> Exception:
    if is_passing(error):
        return BrokerUnreachable(
            f"SNS cannot be reached: {error}; check ASYNCMCP_BROKER_URL, or start the embedded one with "
            "`asyncmcp-kombu local`"
        )
    if error_code(error) in MISSING_TOPIC:
        return TopicNotFound(f"the SNS topic does not exist (any more): {error}")
    return PublishError(f"SNS refused the request: {error}; the publisher needs sns:CreateTopic and sns:Publish")
