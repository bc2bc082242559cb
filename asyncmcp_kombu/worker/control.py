"""Control: how a cancellation gets from the control exchange to the tool that runs.

One thread of the worker hears the exchange, marks the call as revoked for Celery (so that it never starts), and
tells every process of the pool over a datagram socket. Celery's own remote control cannot serve: on SQS it is off.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from celery import bootsteps
from celery.worker.state import active_requests, revoked
from kombu.connection import Connection

from asyncmcp_kombu.broker.connection import connect
from asyncmcp_kombu.broker.inbox import Inbox
from asyncmcp_kombu.server.cancellation import Cancellations, Key, control_inbox
from asyncmcp_kombu.worker.call import call_id
from asyncmcp_kombu.worker.pool_sockets import tell_processes
from asyncmcp_kombu.worker.served import served_by

logger = logging.getLogger(__name__)

cancelled = Cancellations()
"""What this worker has heard of."""


class Control(bootsteps.StartStopStep):
    """Hears the control exchange from before the worker takes calls until it has stopped."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def __init__(self, c: Any, **kwargs: Any) -> None:
        super().__init__(c, **kwargs)
        self._inbox: Inbox | None = None

    def start(self, c: Any) -> None:
        served = served_by(c.app)
        assert served is not None

        def new_connection() -> Connection:
            return connect(c.app.conf.broker_read_url or c.app.conf.broker_url, served.settings)

        on_cancel = partial(self._on_cancel, c)
        self._inbox = control_inbox(
            served.topology.control, new_connection, on_cancel, served.settings.max_message_bytes
        )
        self._inbox.start()

    def _on_cancel(self, c: Any, key: Key) -> None:
        cancelled.add(key)
        c.call_soon(_revoke, c.pool, call_id(key))
        tell_processes(key)

    def stop(self, c: Any) -> None:
        inbox, self._inbox = self._inbox, None
        if inbox is not None:
            inbox.close()

    shutdown = stop


def _revoke(pool: Any, task_id: str) -> None:
    """In the consumer's thread: the call never starts; its process is ended if it runs and its tool allows that."""
    revoked.add(task_id)
    for request in list(active_requests):
        options = getattr(request.task, "mcp_tool", None) if request.id == task_id else None
        if options is not None and options.terminate:
            request.terminate(pool)
