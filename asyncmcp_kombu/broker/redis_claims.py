"""Claims: how a channel on Redis takes messages, so that none is lost with a connection.

In turn it claims what is there (redis_scripts.py says why) and, when that was all, waits for a token with BRPOP.
A token that gets lost costs the time until that wait ends by itself. What Celery's queues hold for others than tools
may be sent by anybody who knows no tokens: those are left to Kombu's BRPOP, and to Celery's promises.

Private names of Kombu 5.7 used here: Channel._queue_cycle, _q_for_pri, _in_poll, _brpop_sent_at, _flush_brpop_reauth,
_expires, Transport._deliver. tests/brokers/test_redis_names.py fails when one goes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from queue import Empty
from typing import Any, cast
from uuid import uuid4

from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

from asyncmcp_kombu.broker.redis_scripts import claim_arguments, token_of

MOST_AT_ONCE = 10
"""Messages that one claim takes."""

Lists = list[tuple[str, str]]
"""Keys of lists, each with the name of its queue."""


class Claims:
    """The messages that one channel takes. Used in the channel's thread only."""

    def __init__(self, channel: Any) -> None:
        self.left_to_kombu: set[str] = set()
        self._channel = channel
        self._stem, self._number = f"{uuid4()}.", 0
        self._held: set[str] = set()  # delivery tags that Redis has noted
        self._look = True  # before it waits: something may be there
        self._asked: tuple[Lists, int] | None = None  # the claim that is under way

    def has_noted(self, tag: str) -> bool:
        """Whether Redis has noted the message of this delivery tag as held; asked once for each."""
        if tag not in self._held:
            return False
        self._held.remove(tag)
        return True

    def take_one(self, queue: str) -> dict[str, Any] | None:
        """The next message of a queue in Kombu's form, if there is one now."""
        lists = self._lists([queue])
        with self._channel.conn_or_acquire() as client:
            taken = self._messages(client.eval(*self._arguments(lists, 1)), lists)
        return taken[0][1] if taken else None

    def ask(self, timeout: float) -> None:
        """Send what Kombu sends a BRPOP for, on the connection on which it waits."""
        channel = self._channel
        queues = cast("list[str]", channel._queue_cycle.consume(len(channel.active_queues)))
        if not queues:
            return
        channel._in_poll, channel._brpop_sent_at = channel.client.connection, time.monotonic()
        own = [queue for queue in queues if queue not in self.left_to_kombu and queue not in channel._expires]
        if own and self._look:
            room = channel.qos.can_consume_max_estimate()  # None: any number
            lists, most = self._lists(own), MOST_AT_ONCE if room is None else max(1, min(MOST_AT_ONCE, room))
            self._asked = lists, most
            channel.client.connection.send_command("EVAL", *self._arguments(lists, most))
        else:
            others = self._lists([queue for queue in queues if queue not in own])
            keys = [*map(token_of, own), *(key for key, _ in others)]
            channel.client.connection.send_command("BRPOP", *(channel.global_keyprefix + key for key in keys), timeout)

    def read(self) -> bool:
        """Read the answer to what was sent, and deliver what it brought.

        Raises:
            Empty: it brought nothing.
        """
        channel, asked = self._channel, self._asked
        self._asked, self._look = None, True
        try:
            reply = self._reply("BRPOP" if asked is None else "EVAL")
            if asked is None:
                return self._read_popped(reply)
            lists, most = asked
            taken = self._messages(reply, lists)
            self._look = len(taken) == most  # else all was taken; whatever came since has left a token
            if not taken:
                raise Empty
            channel._queue_cycle.rotate(taken[-1][0])
            for queue, message in taken:
                channel.connection._deliver(message, queue)
            return True
        finally:
            channel._in_poll = None
            channel._flush_brpop_reauth()

    def _reply(self, command: str) -> Any:
        client = self._channel.client
        try:
            return client.parse_response(client.connection, command)
        except self._channel.connection_errors:
            client.connection.disconnect()  # so that it connects again
            raise

    def _read_popped(self, reply: tuple[bytes, bytes] | None) -> bool:
        if reply is None:
            raise Empty
        channel, key = self._channel, bytes_to_str(reply[0])
        queue = key.rsplit(channel.sep, 1)[0]
        if queue not in channel.active_queues:  # a token
            raise Empty
        channel._queue_cycle.rotate(queue)
        channel.connection._deliver(loads(bytes_to_str(reply[1])), queue)
        return True

    def _lists(self, queues: Sequence[str]) -> Lists:
        return [
            (self._channel._q_for_pri(queue, step), queue) for step in self._channel.priority_steps for queue in queues
        ]

    def _arguments(self, lists: Lists, most: int) -> list[Any]:
        channel = self._channel
        held = channel.unacked_key, channel.unacked_index_key
        return claim_arguments(channel.global_keyprefix, held, lists, time.time(), most, self._stem, self._number)

    def _messages(self, reply: list[Any], lists: Lists) -> list[tuple[str, dict[str, Any]]]:
        taken: list[tuple[str, dict[str, Any]]] = []
        for place, raw in zip(reply[::2], reply[1::2], strict=True):
            queue, tag = lists[place - 1][1], f"{self._stem}{self._number}"
            self._number += 1
            self._held.add(tag)
            taken.append((queue, _message(raw, queue, tag)))
        return taken


def _message(raw: bytes, queue: str, tag: str) -> dict[str, Any]:
    """A message in Kombu's form. What is none becomes the body of one, so that who takes it can refuse it."""
    try:
        message: dict[str, Any] = loads(bytes_to_str(raw))
        message["properties"]["delivery_tag"] = tag
        return message
    except (ValueError, KeyError, TypeError):
        return {
            "body": raw.decode("utf-8", "replace"),
            "content-type": "application/octet-stream",
            "content-encoding": "utf-8",
            "headers": {},
            "properties": {"delivery_tag": tag, "delivery_info": {"exchange": "", "routing_key": queue}},
        }
