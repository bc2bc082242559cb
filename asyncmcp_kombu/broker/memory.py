"""Kombu's memory transport, with queues that are really deleted and exchanges that give every queue its own copy.

A channel that closes gives back what was not settled, as those of other brokers do; Kombu's loses it.

Private names of Kombu 5.7 used here: Channel._delete, _put, _lookup, _inplace_augment_message; exchanges[…]["table"].
tests/brokers/test_memory_names.py fails when one goes.
"""

from __future__ import annotations

import threading
from typing import Any

from kombu.transport import memory

from asyncmcp_kombu.broker.presence import Sighting
from asyncmcp_kombu.broker.virtual import copy_for, is_envelope
from asyncmcp_kombu.topology import Topology

_lock = threading.RLock()
"""All threads share the tables of bindings."""


class Channel(memory.Channel):
    def close(self) -> None:
        if not self.closed:
            self.qos.restore_unacked()
        super().close()

    def queue_bind(self, queue: str, exchange: Any = None, routing_key: str = "", *args: Any, **kwargs: Any) -> None:
        with _lock:
            super().queue_bind(queue, exchange, routing_key, *args, **kwargs)

    def queue_unbind(self, queue: str, exchange: Any = None, routing_key: str = "", *args: Any, **kwargs: Any) -> None:
        """Replaces the table, which another thread may be reading; Kombu changes it in place."""
        with _lock:
            found = self.state.exchanges.get(exchange)
            if found is not None:
                found["table"] = list(found["table"])
            super().queue_unbind(queue, exchange, routing_key, *args, **kwargs)

    def queue_delete(self, queue: str, if_unused: bool = False, if_empty: bool = False, **kwargs: Any) -> None:
        """Delete the queue and its bindings too when it is on the default exchange, which Kombu leaves."""
        if if_empty and self._size(queue):
            return
        with _lock:
            for exchange, routing_key, arguments in list(self.state.queue_bindings(queue)):
                self.queue_unbind(queue, exchange, routing_key, arguments)
            self.state.queue_bindings_delete(queue)
        self._delete(queue)

    def sightings(self, topology: Topology) -> list[Sighting]:
        """The queues of this process; none is abandoned, because the process lives."""
        return [Sighting(name, queue.qsize()) for name, queue in list(self.queues.items()) if topology.kind_of(name)]

    def basic_publish(self, message: dict[str, Any], exchange: str, routing_key: str, **kwargs: Any) -> Any:
        if not (exchange and is_envelope(message)):
            return super().basic_publish(message, exchange, routing_key, **kwargs)
        self._inplace_augment_message(message, exchange, routing_key)
        with _lock:  # a queue that is deleted meanwhile must not be made again
            queues: Any = self._lookup(exchange, routing_key)
            for queue in queues:
                self._put(queue, copy_for(self, queue, message))
        return None


class Transport(memory.Transport):
    Channel = Channel
