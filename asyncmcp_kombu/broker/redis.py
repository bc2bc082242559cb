"""Kombu's Redis transport with leases that are short and renewed, and queues that go with their owners.

Kombu keeps what a consumer has taken in a sorted set by time and gives it to somebody else when it is older
than the visibility timeout (an hour by default, looked at every 100 s). Here the timeout is that of the
settings, the look is frequent, and what this process holds is renewed (redis_leases.py).

A reply or control queue is a list that its owner deletes. For an owner that died, the list has a time to live from
its first message on, which later messages do not push back; a living owner does, now and then (presence.py). So has
the list of a durable reply queue, a long one, which nobody pushes back.

Private names of Kombu 5.7 used here: Channel._put, _delete, _queue_bind, _lookup, _q_for_pri, _get_message_priority,
_inplace_augment_message, _do_restore_message, _brpop_start, _brpop_read, _expires, keyprefix_queue,
keyprefix_binding_permanent, sep, conn_or_acquire, _create_client.
tests/brokers/test_redis_names.py fails when one goes.
"""

from __future__ import annotations

import time
from typing import Any

from kombu.transport import redis
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps

from asyncmcp_kombu.broker.presence import Sighting
from asyncmcp_kombu.broker.redis_claims import Claims
from asyncmcp_kombu.broker.redis_leases import QoS
from asyncmcp_kombu.broker.redis_scripts import push, token_of, wake
from asyncmcp_kombu.broker.virtual import copy_for, is_envelope
from asyncmcp_kombu.errors import BrokerUnreachable, PublishError
from asyncmcp_kombu.settings import DURABLE_RETENTION
from asyncmcp_kombu.topology import Topology, belongs_to_one_process, is_durable_reply

REPLIES_KEPT = 86_400
"""Seconds for which Redis keeps what nobody fetches from a reply or control queue."""


class Channel(redis.Channel):
    QoS = QoS
    visibility_timeout = 30
    unacked_restore_throttle = 1
    presence_key = "asyncmcp-presence"
    durable_retention = DURABLE_RETENTION
    from_transport_options = (*redis.Channel.from_transport_options, "presence_key", "durable_retention")

    _for_commands: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.claims = Claims(self)

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
                client.delete(token_of(queue))

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

    # --- taking messages ---

    def basic_consume(self, queue: str, no_ack: bool = False, *args: Any, **kwargs: Any) -> Any:
        if no_ack:
            self.claims.left_to_kombu.add(queue)
        return super().basic_consume(queue, no_ack, *args, **kwargs)

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> Any:
        if no_ack or queue in self.claims.left_to_kombu:
            return super().basic_get(queue, no_ack, **kwargs)
        taken = self.claims.take_one(queue)
        if taken is None:
            return None
        message = self.Message(taken, channel=self)
        self.qos.append(message, message.delivery_tag)
        return message

    def _brpop_start(self, timeout: float | None = None) -> None:
        self.claims.ask(self.brpop_timeout if timeout is None else timeout)

    def _brpop_read(self, **options: Any) -> Any:
        return self.claims.read()

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
            with self.conn_or_acquire() as client, client.pipeline() as pipe:
                for queue in queues:
                    self._push(pipe, queue, copy_for(self, queue, message))
                pipe.execute()
        return None

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        # Kombu's own are its batches, and queues whose expiry it renews.
        if kwargs.get("_publish_batch") is not None or queue in self._expires:
            super()._put(queue, message, **kwargs)
            return
        with self.conn_or_acquire() as client:
            self._push(client, queue, message)

    def put_many(self, messages: list[tuple[str, dict[str, Any]]]) -> list[Exception | None]:
        """Send messages in Kombu's form to their queues, in one round trip, and return what became of each."""
        try:
            with self.conn_or_acquire() as client, client.pipeline(transaction=False) as pipe:
                for queue, message in messages:
                    self._push(pipe, queue, message)
                answers: list[Any] = pipe.execute(raise_on_error=False)
        except self.connection_errors as error:
            return [BrokerUnreachable(f"Redis cannot be reached: {error}; check ASYNCMCP_BROKER_URL")] * len(messages)
        return [
            PublishError(f"Redis refused the message: {answer}") if isinstance(answer, Exception) else None
            for answer in answers
        ]

    def _push(self, client: Any, queue: str, message: dict[str, Any]) -> None:
        key = self._q_for_pri(queue, self._get_message_priority(message, reverse=False))
        push(client, self.global_keyprefix, key, queue, dumps(message), self._kept(queue))

    def _kept(self, queue: str) -> int:
        """Seconds for which what waits in the queue is kept; 0 is for ever."""
        if is_durable_reply(queue):
            return int(self.durable_retention)
        return REPLIES_KEPT if belongs_to_one_process(queue) else 0

    def _do_restore_message(
        self, payload: Any, exchange: str, routing_key: str, pipe: Any, leftmost: bool = False
    ) -> None:
        """Counts how often the message is delivered. What a dead owner held goes into a list that nobody may read."""
        info = payload["properties"]["delivery_info"]
        info["receive_count"] = info.get("receive_count", 1) + 1
        super()._do_restore_message(payload, exchange, routing_key, pipe, leftmost)
        if not exchange:
            if self._kept(routing_key):
                pipe.expire(self.global_keyprefix + routing_key, self._kept(routing_key))
            wake(pipe, self.global_keyprefix, routing_key)


class Transport(redis.Transport):
    Channel = Channel
    brpop_timeout = 0.5
    """Seconds: the bound of closing. Kombu's option for it, `polling_interval`, also naps between two looks."""
