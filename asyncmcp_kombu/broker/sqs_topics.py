"""Exchanges on SQS: one SNS topic each, and one subscription for every bound queue.

A subscription delivers raw (the queue gets the very body and attributes that were published) what its filter policy
lets through: `{"Audience": [audiences]}`. The queue's policy allows the topic to send (sqs_policy.py).

An endpoint has one subscription per topic, and on AWS a changed filter policy takes up to 15 minutes to be in force
(https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html). So a further audience makes a new
subscription in place of the old one: what is published in the moment between the two requests is missed, but the
binder need not wait for a quarter of an hour (not tried on AWS). An audience less changes the filter in place:
nothing is missed, and what still arrives for the audience that left concerns nobody.

No function here may be called in an event loop: each makes requests and waits for them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from asyncmcp_kombu.broker.sqs_errors import MISSING_QUEUE, error_code
from asyncmcp_kombu.broker.sqs_policy import allowing, topics_in, without
from asyncmcp_kombu.errors import BrokerError, QueueNotFound
from asyncmcp_kombu.topology import is_topic

logger = logging.getLogger(__name__)

MISSING_TOPIC = {"NotFound", "NotFoundException"}


class _Subscription(NamedTuple):
    """One that we made, for audiences; or an operator's, whose filter (or none) says something else: left alone."""

    arn: str
    audiences: frozenset[str]
    operators: bool = False


@dataclass(frozen=True, slots=True)
class KnownTopics:
    """What one connection has learned: ARNs by name, and subscriptions by queue URL and ARN."""

    arns: dict[str, str] = field(default_factory=dict[str, str])
    subscriptions: dict[tuple[str, str], _Subscription] = field(default_factory=dict[tuple[str, str], _Subscription])


class Topics:
    """Topics and subscriptions as one channel handles them."""

    def __init__(self, sns: Callable[[], Any], sqs: Callable[[], Any], known: KnownTopics) -> None:
        self._sns, self._sqs = sns, sqs
        self._arns, self._known = known.arns, known.subscriptions

    def arn(self, name: str) -> str:
        """The topic's ARN, for an ARN that very one.

        Creates a named topic unless it exists, which leaves one that an operator made as it is.
        """
        if is_topic(name):
            return name
        if name not in self._arns:
            self._arns[name] = self._sns().create_topic(Name=name)["TopicArn"]
        return self._arns[name]

    def forget(self, name: str) -> None:
        """The topic does not exist any more; it is created again when it is needed."""
        self._arns.pop(name, None)

    def bind(self, queue_url: str, name: str, audiences: Iterable[str]) -> None:
        """Have the queue get what is published for the audiences, and for those it is bound for already.

        Raises:
            QueueNotFound: the queue does not exist.
            BrokerError: AWS refuses; the text says which rights are needed.
        """
        try:
            try:
                self._bind(queue_url, name, frozenset(audiences))
            except ClientError as error:
                if error_code(error) not in MISSING_TOPIC:
                    raise
                self.forget(name)  # deleted since, perhaps with its subscriptions
                self._bind(queue_url, name, frozenset(audiences))
        except (ClientError, ParamValidationError) as error:
            raise refused(f"bind a queue to the topic {name}", error) from error

    def unbind(self, queue_url: str, name: str, audiences: Iterable[str]) -> None:
        """Undo `bind`; the last audience takes the subscription with it. Raises as `bind` does."""
        try:
            topic = self.arn(name)
            known = self._known_now(queue_url, topic) or self._find(queue_url, topic)
            if known is None or known.operators:
                return
            left = known.audiences.difference(audiences)
            if left:
                self._sns().set_subscription_attributes(
                    SubscriptionArn=known.arn, AttributeName="FilterPolicy", AttributeValue=_filter(left)
                )
                self._known[queue_url, topic] = known._replace(audiences=left)
            else:
                self._unsubscribe(known.arn)
                self._known.pop((queue_url, topic), None)
                self._disallow(queue_url, topic)
        except (ClientError, ParamValidationError) as error:
            raise refused(f"unbind a queue from the topic {name}", error) from error

    def unsubscribe_all(self, queue_url: str) -> None:
        """Before the queue is deleted: what cannot be unsubscribed is logged, for `queues prune` to find."""
        mine = {topic: known for (url, topic), known in self._known.items() if url == queue_url}
        for topic in mine:
            del self._known[queue_url, topic]
        try:
            _, policy = self._read(queue_url)
            for topic in mine.keys() | topics_in(policy):
                known = mine.get(topic) or self._find(queue_url, topic)
                if known is not None:
                    self._unsubscribe(known.arn)
        except (BotoCoreError, ClientError, OSError) as error:
            if error_code(error) not in MISSING_QUEUE:
                level = logging.WARNING if mine else logging.DEBUG  # else it was hardly ever bound
                logger.log(level, "cannot unsubscribe %s before deleting it: %s", queue_url, error)

    def drop_stale(self, name: str, *, dry_run: bool) -> list[str]:
        """Unsubscribe queues of the topic's own account that do not exist any more. Returns `topic -> queue`.

        Raises:
            BrokerError: AWS refuses.
        """
        try:
            topics = self._sns().get_paginator("list_topics").paginate()
            arns = [one["TopicArn"] for page in topics for one in page["Topics"]]
            dropped: list[str] = []
            for topic in arns:
                if topic.endswith(f":{name}"):
                    for subscription, queue in self._stale(topic):
                        if not dry_run:
                            self._unsubscribe(subscription)
                        dropped.append(f"{name} -> {queue}")
        except ClientError as error:
            raise BrokerError(
                f"cannot look at the subscriptions of the topic {name}: {error}; this needs sns:ListTopics, "
                "sns:ListSubscriptionsByTopic, sns:Unsubscribe and sqs:GetQueueUrl (docs/operating.md)"
            ) from error
        return dropped

    def _stale(self, topic: str) -> list[tuple[str, str]]:
        """Subscription ARN and queue name."""
        own = topic.rpartition(":")[0].replace(":sns:", ":sqs:", 1)
        pages = self._sns().get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
        subscribed = [(one["SubscriptionArn"], one["Endpoint"]) for page in pages for one in page["Subscriptions"]]
        queues = [(arn, endpoint.rpartition(":")) for arn, endpoint in subscribed]
        return [(arn, queue) for arn, (account, _, queue) in queues if account == own and not self._exists(queue)]

    def _exists(self, queue: str) -> bool:
        try:
            self._sqs().get_queue_url(QueueName=queue)
        except ClientError as error:
            if error_code(error) in MISSING_QUEUE:
                return False
            raise
        return True

    def _bind(self, queue_url: str, name: str, audiences: frozenset[str]) -> None:
        topic = self.arn(name)
        queue_arn, met_before = self._allow(queue_url, topic)
        known = self._known_now(queue_url, topic)
        if known is None:
            known = self._subscribe(queue_url, topic, queue_arn, audiences)
            if met_before:  # some engines answer with the old subscription, whose filter is another
                known = self._read_subscription(known.arn)
        if not (known.operators or audiences <= known.audiences):
            self._unsubscribe(known.arn)
            known = self._subscribe(queue_url, topic, queue_arn, audiences | known.audiences)
        self._known[queue_url, topic] = known

    def _subscribe(self, queue_url: str, topic: str, queue_arn: str, audiences: frozenset[str]) -> _Subscription:
        """The queue's subscription: a new one, the one that is the same, or one with another filter."""
        try:
            answer = self._sns().subscribe(
                TopicArn=topic,
                Protocol="sqs",
                Endpoint=queue_arn,
                Attributes={"RawMessageDelivery": "true", "FilterPolicy": _filter(audiences)},
                ReturnSubscriptionArn=True,
            )
        except ClientError as error:
            found = self._find(queue_url, topic) if "already exists with different attributes" in str(error) else None
            if found is None:
                raise
            return found
        return _Subscription(answer["SubscriptionArn"], audiences)

    def _unsubscribe(self, arn: str) -> None:
        try:
            self._sns().unsubscribe(SubscriptionArn=arn)
        except ClientError as error:
            if error_code(error) not in MISSING_TOPIC:
                raise

    def _find(self, queue_url: str, topic: str) -> _Subscription | None:
        """The queue's subscription to the topic, made by another process or an earlier connection."""
        queue_arn, _ = self._read(queue_url)
        pages = self._sns().get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
        try:
            for page in pages:
                for one in page["Subscriptions"]:
                    if one["Endpoint"] == queue_arn:
                        return self._read_subscription(one["SubscriptionArn"])
        except ClientError as error:
            if error_code(error) not in MISSING_TOPIC:
                raise
        return None

    def _known_now(self, queue_url: str, topic: str) -> _Subscription | None:
        """The subscription that this connection knows, as it is now: another process may have replaced it."""
        known = self._known.get((queue_url, topic))
        if known is None:
            return None
        try:
            return self._read_subscription(known.arn)
        except ClientError as error:
            if error_code(error) not in MISSING_TOPIC:
                raise
            return None

    def _read_subscription(self, arn: str) -> _Subscription:
        attributes = self._sns().get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
        audiences = json.loads(attributes.get("FilterPolicy") or "{}").get("Audience")
        return _Subscription(arn, frozenset(audiences or ()), operators=audiences is None)

    # --- the queue's policy ---

    def _read(self, queue_url: str) -> tuple[str, str]:
        """The queue's ARN and its policy."""
        answer = self._sqs().get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn", "Policy"])
        attributes = answer["Attributes"]
        return attributes["QueueArn"], attributes.get("Policy", "")

    def _allow(self, queue_url: str, topic: str) -> tuple[str, bool]:
        """Let the topic send to the queue. Returns the queue's ARN, and whether it was allowed before."""
        queue_arn, policy = self._read(queue_url)
        self._write(queue_url, policy, allowing(policy, topic, queue_arn))
        return queue_arn, topic in topics_in(policy)

    def _disallow(self, queue_url: str, topic: str) -> None:
        _, policy = self._read(queue_url)
        self._write(queue_url, policy, without(policy, topic))

    def _write(self, queue_url: str, old: str, new: str) -> None:
        if new != old:
            self._sqs().set_queue_attributes(QueueUrl=queue_url, Attributes={"Policy": new})


def refused(what: str, error: ClientError | ParamValidationError) -> BrokerError:
    """A refusal of AWS as one of our errors, saying what to do."""
    if error_code(error) in MISSING_QUEUE:
        return QueueNotFound(f"cannot {what}, because the queue does not exist (any more): {error}")
    return BrokerError(
        f"cannot {what}: {error}; whoever binds needs sns:CreateTopic, sns:Subscribe, sns:Unsubscribe, "
        "sns:GetSubscriptionAttributes, sns:ListSubscriptionsByTopic, sqs:GetQueueAttributes and "
        "sqs:SetQueueAttributes (docs/operating.md)"
    )


def _filter(audiences: Iterable[str]) -> str:
    return json.dumps({"Audience": sorted(audiences)})
