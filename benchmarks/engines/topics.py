"""The stand-in's topics: just enough of SNS' query protocol for queues to be bound and told."""

from __future__ import annotations

import json
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.engines.queues import Queues

Fields = dict[str, str]


class Topics:
    """Answers are the inside of the XML element `…Result`."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._subscriptions: dict[str, tuple[str, str, str]] = {}

    def act(self, action: str, fields: Fields) -> str:
        act: Any = getattr(self, f"_{action}", None)
        return act(fields) if act else ""

    def _CreateTopic(self, fields: Fields) -> str:  # noqa: N802
        return f"<TopicArn>arn:aws:sns:us-east-1:000000000000:{escape(fields['Name'])}</TopicArn>"

    def _Subscribe(self, fields: Fields) -> str:  # noqa: N802
        arn = f"{fields['TopicArn']}:{len(self._subscriptions)}"
        policy = next((value for key, value in fields.items() if "Audience" in value and key.endswith("value")), "{}")
        self._subscriptions[arn] = fields["TopicArn"], fields["Endpoint"], policy
        return f"<SubscriptionArn>{arn}</SubscriptionArn>"

    def _Unsubscribe(self, fields: Fields) -> str:  # noqa: N802
        self._subscriptions.pop(fields["SubscriptionArn"], None)
        return ""

    def _GetSubscriptionAttributes(self, fields: Fields) -> str:  # noqa: N802
        policy = escape(self._subscriptions[fields["SubscriptionArn"]][2])
        return f"<Attributes><entry><key>FilterPolicy</key><value>{policy}</value></entry></Attributes>"

    def _ListSubscriptionsByTopic(self, fields: Fields) -> str:  # noqa: N802
        members = "".join(
            f"<member><SubscriptionArn>{arn}</SubscriptionArn><Endpoint>{queue}</Endpoint></member>"
            for arn, (topic, queue, _) in self._subscriptions.items()
            if topic == fields["TopicArn"]
        )
        return f"<Subscriptions>{members}</Subscriptions>"

    def _Publish(self, fields: Fields) -> str:  # noqa: N802
        attributes = _attributes(fields)
        audience = attributes.get("Audience", {}).get("StringValue")
        for topic, queue, policy in list(self._subscriptions.values()):
            if topic == fields["TopicArn"] and audience in json.loads(policy).get("Audience", [audience]):
                self._queues.put(queue, fields["Message"], attributes)
        return "<MessageId>0</MessageId>"


def _attributes(fields: Fields) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, name in fields.items():
        if key.startswith("MessageAttributes.entry.") and key.endswith(".Name"):
            stem = key.removesuffix("Name") + "Value."
            found[name] = {part: fields.get(stem + part, "") for part in ("DataType", "StringValue")}
    return found
