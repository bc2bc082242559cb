"""Kombu's Redis transport with leases that are short and renewed.

Kombu keeps what a consumer has taken in a sorted set by time and gives it to somebody else when it is older
than the visibility timeout (an hour by default, looked at every 100 s). Here the timeout is that of the
settings, the look is frequent, and a thread renews the times of what this process holds.

Private names of Kombu 5.7 used here: Channel._put, _delete; QoS.unacked_index_key, channel.conn_or_acquire.
tests/brokers/test_redis_names.py fails when one goes.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import Any

from kombu.transport import redis

logger = logging.getLogger(__name__)

REPLIES_KEPT = 86_400
"""Seconds for which Redis keeps replies that nobody fetches, so that a vanished client leaves nothing."""


class QoS(redis.QoS):
    """Redis acknowledgement emulation whose leases are renewed until the message is settled."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._held: set[str] = set()
        self._held_lock = threading.Lock()
        self._ended = threading.Event()
        self._renewal: threading.Thread | None = None

    def append(self, message: Any, delivery_tag: str) -> None:
        super().append(message, delivery_tag)
        with self._held_lock:
            self._held.add(delivery_tag)
            if self._renewal is None:
                self._renewal = threading.Thread(target=self._renew, name="asyncmcp-redis-leases", daemon=True)
                self._renewal.start()

    def ack(self, delivery_tag: str) -> None:
        self._let_go(delivery_tag)
        super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        self._let_go(delivery_tag)
        super().reject(delivery_tag, requeue=requeue)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        self.end()
        super().restore_unacked_once(stderr)

    def end(self) -> None:
        """Stop renewing; the thread ends at once."""
        self._ended.set()
        if self._renewal is not None and self._renewal is not threading.current_thread():
            self._renewal.join(2.0)

    def _let_go(self, delivery_tag: str) -> None:
        with self._held_lock:
            self._held.discard(delivery_tag)

    def _renew(self) -> None:
        while not self._ended.wait(self.visibility_timeout / 3):
            with self._held_lock:
                held = list(self._held)
            if not held:
                continue
            now = time.time()
            try:
                with self.channel.conn_or_acquire() as client:
                    client.zadd(self.unacked_index_key, dict.fromkeys(held, now), xx=True)
            except Exception as error:
                logger.warning("cannot renew %d lease(s) on Redis, will try again: %s", len(held), error)


class Channel(redis.Channel):
    QoS = QoS
    visibility_timeout = 30
    unacked_restore_throttle = 1

    def queue_delete(self, queue: str, if_unused: bool = False, if_empty: bool = False, **kwargs: Any) -> None:
        """Delete the list too when the queue is on the default exchange, which Kombu leaves."""
        super().queue_delete(queue, if_unused, if_empty, **kwargs)
        if not (if_empty and self._size(queue)):
            self._delete(queue, "", queue, "")

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        super()._put(queue, message, **kwargs)
        if "Sequence" in (message.get("headers") or {}):  # a message to a client
            with self.conn_or_acquire() as client, contextlib.suppress(self.connection_errors):
                client.expire(queue, REPLIES_KEPT)


class Transport(redis.Transport):
    Channel = Channel
