"""Leases on Redis: renewed until the message is settled; acknowledgements gathered and sent together, by one thread.

Nobody waits for an acknowledgement, and Kombu would make a round trip for each in the thread that consumes, which is
the worker's event loop. One that is not sent, because the process died, is a message that comes again: at-least-once.

Private names of Kombu 5.7 used here: Message._raw; QoS._remove_from_indices; QoS.unacked_index_key, unacked_key.
tests/brokers/test_redis_names.py fails when one goes.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from kombu.transport import redis, virtual
from kombu.utils.json import dumps

logger = logging.getLogger(__name__)

_GATHER = 0.003
"""Seconds for which acknowledgements wait for company."""
_AGAIN = 0.5


class QoS(redis.QoS):
    """Redis acknowledgement emulation whose leases are renewed until the message is settled."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._held: set[str] = set()
        self._settled: list[str] = []
        self._lock = threading.Lock()
        self._wakeup, self._ended = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def append(self, message: Any, delivery_tag: str) -> None:
        if not self.channel.claims.has_noted(delivery_tag):
            self._note(message, delivery_tag)
        virtual.QoS.append(self, message, delivery_tag)
        with self._lock:
            self._held.add(delivery_tag)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="asyncmcp-redis-leases", daemon=True)
                self._thread.start()

    def _note(self, message: Any, delivery_tag: str) -> None:
        """For what Kombu popped."""
        info = message.delivery_info
        content = dumps([message._raw, info["exchange"], info["routing_key"]])
        with self.channel.conn_or_acquire() as client, client.pipeline(transaction=False) as pipe:
            pipe.zadd(self.unacked_index_key, {delivery_tag: time.time()})
            pipe.hset(self.unacked_key, delivery_tag, content)
            pipe.execute()

    def ack(self, delivery_tag: str) -> None:
        with self._lock:
            self._held.discard(delivery_tag)
            self._settled.append(delivery_tag)
        self._wakeup.set()
        virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if not requeue:
            self.ack(delivery_tag)
            return
        with self._lock:
            self._held.discard(delivery_tag)
        super().reject(delivery_tag, requeue=True)

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """What is no message, and so cannot be given back, must not keep all others from it."""
        try:
            super().restore_by_tag(tag, client, leftmost)
        except ValueError:
            with self.channel.conn_or_acquire(client) as connected:
                lost = connected.hget(self.unacked_key, tag)
                logger.critical("dropped what was held on Redis and is no message: %.200r", lost)
                self._remove_from_indices(tag).execute()

    def restore_unacked_once(self, stderr: Any = None) -> None:
        self.end()
        super().restore_unacked_once(stderr)

    def end(self) -> None:
        """Stop renewing, and send what is gathered; takes a moment."""
        self._ended.set()
        self._wakeup.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2.0)

    def _run(self) -> None:
        renew_at = time.monotonic() + self.visibility_timeout / 3
        while not self._ended.is_set():
            if self._wakeup.wait(max(0.0, renew_at - time.monotonic())):
                self._ended.wait(_GATHER)
                self._wakeup.clear()
                self._send_settled()
            if time.monotonic() >= renew_at:
                renew_at = time.monotonic() + self.visibility_timeout / 3
                self._renew()
        self._send_settled()

    def _send_settled(self) -> None:
        with self._lock:
            tags, self._settled = self._settled, []
        if not tags:
            return
        try:
            with self.channel.conn_or_acquire() as client, client.pipeline(transaction=False) as pipe:
                pipe.zrem(self.unacked_index_key, *tags)
                pipe.hdel(self.unacked_key, *tags)
                pipe.execute()
        except Exception as error:
            logger.warning("cannot acknowledge %d message(s) on Redis, will try again: %s", len(tags), error)
            with self._lock:
                self._settled += tags
            self._ended.wait(_AGAIN)
            self._wakeup.set()

    def _renew(self) -> None:
        with self._lock:
            held = list(self._held)
        if not held:
            return
        now = time.time()
        try:
            with self.channel.conn_or_acquire() as client:
                client.zadd(self.unacked_index_key, dict.fromkeys(held, now), xx=True)
        except Exception as error:
            logger.warning("cannot renew %d lease(s) on Redis, will try again: %s", len(held), error)
