"""QoS: how many messages a consumer may hold, and how many it may receive ahead because they go as fast as they come.

A request to SQS takes about as long as a short call. Held to its prefetch count alone, a pool of eight processes
would wait for the next message after each call. So what the consumer finishes while a poll is under way may be
received ahead. Calls that take longer than that are not: they would wait behind each other, and an idle
worker could not take them.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from kombu.transport import virtual

from asyncmcp_kombu.broker.sqs_receipts import Receipt

_LATELY = 0.2
"""Seconds in which it is counted how many messages are finished."""
_A_POLL = 0.05
"""Seconds from the decision to poll until the messages are there, rather too many than too few."""
_MOST_AHEAD = 64


class QoS(virtual.QoS):
    """Of one channel. Giving back is the receipts' work, without Kombu's dump files.

    Private names of Kombu 5.7 used here: `_delivered`, `_dirty`, `_flush`, `_on_collect`.
    tests/brokers/test_sqs_names.py fails when one goes.
    """

    def __init__(self, channel: Any, prefetch_count: int = 0) -> None:
        super().__init__(channel, prefetch_count)
        self._finished_at: deque[float] = deque(maxlen=int(_MOST_AHEAD * _LATELY / _A_POLL))

    def room(self) -> int | None:
        """How many more messages may be received now; negative when there are too many; None is any number."""
        if not self.prefetch_count:
            return None
        delivered: Any = self._delivered
        dirty: Any = self._dirty
        unsettled = len(delivered) - len(dirty)
        return self.prefetch_count + min(self._ahead(), self.prefetch_count) - unsettled

    def _ahead(self) -> int:
        since = time.monotonic() - _LATELY
        lately = sum(finished_at > since for finished_at in self._finished_at.copy())
        return int(lately * _A_POLL / _LATELY)

    def ack(self, delivery_tag: str) -> None:
        """Any thread may call this."""
        super().ack(delivery_tag)
        self._finished_at.append(time.monotonic())

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        super().ack(delivery_tag)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        self._on_collect.cancel()
        self.restore_unacked()
        delivered: Any = self._delivered
        delivered.restored = True  # Kombu's mark that this was done

    def restore_unacked(self) -> list[Any]:
        self._flush()
        while self._delivered:
            _, message = self._delivered.popitem()
            self.channel.connection.receipts.release(Receipt.of(message))
        return []
