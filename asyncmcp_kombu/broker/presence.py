"""Presence: the owner of a temporary queue says now and then that it lives, so that queues of the dead are found.

On SQS the word is a tag of the queue, on Redis an entry in a sorted set; both hold the time in epoch seconds and go
with the queue. RabbitMQ deletes a queue without consumer by itself (queues.REPLY_QUEUE_EXPIRES), and what is in
memory ends with its process. broker/prune.py reads what was said.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

BEAT = 900.0
"""Seconds from one word to the next."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One queue as the broker knows it.

    Attributes:
        messages: how many wait in it.
        seen: when its owner last said that it lives, in epoch seconds; None when it never did.
        alive_at: when its owner lived for certain: `seen`, or when the queue was made; None when nobody knows.
    """

    name: str
    messages: int
    seen: float | None = None
    alive_at: float | None = None


class Presence:
    """The presence of one queue's owner, over whatever connection it has at the moment."""

    def __init__(self, queue_name: str) -> None:
        self._queue_name = queue_name
        self._said_at = 0.0

    def say_if_due(self, channel: Any) -> None:
        """Say that the owner lives, unless it was said lately. By the wall clock: after a laptop slept, it is due.

        Raises:
            QueueNotFound: on SQS, the queue was deleted.
        """
        if not 0 <= time.time() - self._said_at < BEAT:
            self.say(channel)

    def say(self, channel: Any) -> None:
        """Say it now. A broker that forbids it is no failure: it is logged, and the queue may be pruned."""
        if hasattr(channel, "say_alive"):
            channel.say_alive(self._queue_name)
        self._said_at = time.time()
