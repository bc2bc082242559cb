"""Kombu's Redis transport with leases that are short and renewed, and queues that go with their owners.

Kombu keeps what a consumer has taken in a sorted set by time and gives it to somebody else when it is older
than the visibility timeout (an hour by default, looked at every 100 s). Here the timeout is that of the
settings, the look is frequent, and a thread renews the times of what this process holds.

A reply or control queue is a list that its owner deletes. For an owner that died, the list has a time to live from
its first message on, which later messages do not push back; a living owner does, now and then (presence.py). So has
the list of a durable reply queue, a long one, which nobody pushes back.

Private names of Kombu 5.7 used here: Channel._put, _delete, _queue_bind, _lookup, _q_for_pri, _get_message_priority,
_inplace_augment_message, _do_restore_message, keyprefix_queue, keyprefix_binding_permanent, sep, conn_or_acquire,
_create_client; QoS.unacked_index_key.
tests/brokers/test_redis_names.py fails when one goes.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import Any

from kombu.transport import redis
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps

from asyncmcp_kombu.broker.presence import Sighting
from asyncmcp_kombu.broker.virtual import copy_for, is_envelope
from asyncmcp_kombu.settings import DURABLE_RETENTION
from asyncmcp_kombu.topology import Topology, belongs_to_one_process, is_durable_reply

logger = logging.getLogger(__name__)

REPLIES_KEPT = 86_400
"""Seconds for which Redis keeps what nobody fetches from a reply or control queue."""

_FOR_EVER = -1
"""Redis' word for a key without a time to live."""


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
    presence_key = "asyncmcp-presence"
    durable_retention = DURABLE_RETENTION
    from_transport_options = (*redis.Channel.from_transport_options, "presence_key", "durable_retention")

    _for_commands: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        """One client for all commands: Kombu makes one for each, which costs more time than the command itself."""
        if asynchronous:
            return super()._create_client(asynchronous=True)
        if self._for_commands is None or self._for_commands.connection_pool is not self.pool:
            self._for_commands = super()._create_client()
        return self._for_commands

    def queue_delete(self, queue: str, if_unused: bool = False, if_empty: bool = False, **kwargs: Any) -> None:
        """Delete the list too when the queue is on the default exchange, which Kombu leaves."""
        super().queue_delete(queue, if_unused, if_empty, **kwargs)
        if not (if_empty and self._size(queue)):
            self._delete(queue, "", queue, "")
            with self.conn_or_acquire() as client:
                client.zrem(self.presence_key, queue)

    def say_alive(self, queue: str) -> None:
        """Note the time, and let what waits in the queue live on."""
        with self.conn_or_acquire() as client, client.pipeline() as pipe:
            pipe.zadd(self.presence_key, {queue: time.time()})
            if belongs_to_one_process(queue):
                pipe.expire(self.global_keyprefix + queue, REPLIES_KEPT)
            pipe.execute()

    def sightings(self, topology: Topology) -> list[Sighting]:
        """The server's queues: lists, and what is bound or was seen, which need not have a list now.

        One that is bound has an owner of this version, which says so before it binds: without its word it is dead.
        """
        tables = [self.get_table(exchange) for exchange in (topology.events, topology.control)]
        bound = {queue for table in tables for _, _, queue in table}
        with self.conn_or_acquire() as client:
            said: Any = client.zrange(self.presence_key, 0, -1, withscores=True)
            seen: dict[str, float] = {bytes_to_str(name): at for name, at in said}
            stem = self.global_keyprefix + topology.reply("").removesuffix("reply-")
            lists = {bytes_to_str(key) for key in client.scan_iter(f"{stem}*", count=1000, _type="LIST")}
            names: set[str] = bound | seen.keys() | {key.removeprefix(self.global_keyprefix) for key in lists}
            return [
                Sighting(name, client.llen(name), seen.get(name), seen.get(name, 0.0 if name in bound else None))
                for name in sorted(names)
                if topology.kind_of(name)
            ]

    # --- exchanges ---

    def queue_bind(self, queue: str, exchange: Any = None, routing_key: str = "", *args: Any, **kwargs: Any) -> None:
        """Writes the binding also when this process made it before: Redis may have lost it, or somebody deleted it."""
        if self.state.has_binding(queue, exchange, routing_key):
            self._queue_bind(exchange, routing_key, None, queue)
        super().queue_bind(queue, exchange, routing_key, *args, **kwargs)

    def queue_unbind(self, queue: str, exchange: Any = None, routing_key: str = "", *args: Any, **kwargs: Any) -> None:
        """Removes the binding from Redis, too; Kombu only forgets it."""
        super().queue_unbind(queue, exchange, routing_key, *args, **kwargs)
        member = self.sep.join([routing_key, "", queue])
        with self.conn_or_acquire() as client:
            for key in (self.keyprefix_queue, self.keyprefix_binding_permanent):
                client.srem(key % (exchange,), member)

    def basic_publish(self, message: dict[str, Any], exchange: str, routing_key: str, **kwargs: Any) -> Any:
        """An envelope for an exchange goes into all bound queues in one round trip, or into none."""
        if not (exchange and is_envelope(message)):
            return super().basic_publish(message, exchange, routing_key, **kwargs)
        self._inplace_augment_message(message, exchange, routing_key)
        queues: Any = self._lookup(exchange, routing_key)
        if queues:
            priority = self._get_message_priority(message, reverse=False)
            with self.conn_or_acquire() as client:
                with client.pipeline() as pipe:
                    for queue in queues:
                        pipe.lpush(self._q_for_pri(queue, priority), dumps(copy_for(self, queue, message)))
                    pipe.execute()
                self._limit_time_to_live(client, queues)
        return None

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        super()._put(queue, message, **kwargs)
        if is_envelope(message):
            with self.conn_or_acquire() as client:
                self._limit_time_to_live(client, [queue])

    def _limit_time_to_live(self, client: Any, queues: list[str]) -> None:
        """Have lists expire that have just begun. What was published is published, whatever happens here."""
        passing = [queue for queue in queues if self._kept(queue)]
        if not passing:
            return
        with contextlib.suppress(*self.connection_errors):
            with client.pipeline(transaction=False) as pipe:
                for queue in passing:
                    pipe.ttl(self.global_keyprefix + queue)
                begun = [queue for queue, left in zip(passing, pipe.execute(), strict=True) if left == _FOR_EVER]
            with client.pipeline(transaction=False) as pipe:
                for queue in begun:
                    pipe.expire(self.global_keyprefix + queue, self._kept(queue))
                pipe.execute()

    def _kept(self, queue: str) -> int:
        """Seconds for which what waits in the queue is kept; 0 is for ever."""
        if is_durable_reply(queue):
            return int(self.durable_retention)
        return REPLIES_KEPT if belongs_to_one_process(queue) else 0

    def _do_restore_message(
        self, payload: Any, exchange: str, routing_key: str, pipe: Any, leftmost: bool = False
    ) -> None:
        """What a dead owner held is given back into a list that nobody may ever read."""
        super()._do_restore_message(payload, exchange, routing_key, pipe, leftmost)
        if not exchange and self._kept(routing_key):
            pipe.expire(self.global_keyprefix + routing_key, self._kept(routing_key))


class Transport(redis.Transport):
    Channel = Channel
