"""Strategy: what a worker does with a tool task's message, from the request queue (by the intake) or a Celery queue.

As Celery does, but: a call of an at-most-once tool is acknowledged late, like any other call; and what came from a
Celery queue is failed instead of run when it was delivered too often, as the intake does with requests.
"""

from __future__ import annotations

from typing import Any

from celery import Task
from celery.worker.strategy import default

from asyncmcp_kombu.errors import TooManyReceives
from asyncmcp_kombu.server.receives import check_receives
from asyncmcp_kombu.worker.call import HEADER, CallMessage
from asyncmcp_kombu.worker.once import is_once
from asyncmcp_kombu.worker.request import McpRequest
from asyncmcp_kombu.worker.served import served_by


def strategy(task: Task, app: Any, consumer: Any, **options: Any) -> Any:
    """Celery's entry point: what it returns is called in the consumer's thread for each message."""
    native = default(task, app, consumer, **options)
    served = served_by(app)
    assert served is not None
    most = served.settings.max_receives
    of_calls = native
    if is_once(task):
        late: Any = object.__new__(type(task))  # copying a Celery task gives that task
        late.__dict__.update(task.__dict__)
        late.acks_late = True
        of_calls = default(late, app, consumer, **options)

    def hand_over(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **keywords: Any) -> Any:
        if HEADER not in (message.headers or {}):
            return native(message, body, ack, reject, callbacks, **keywords)
        if not isinstance(message, CallMessage):  # those the intake has looked at
            try:
                check_receives(message.delivery_info or {}, most)
            except TooManyReceives as error:
                about = {"app": app, "task": task, "hostname": consumer.hostname}
                about |= {"eventer": consumer.event_dispatcher, "connection_errors": consumer.connection_errors}
                return McpRequest(message, on_ack=ack, on_reject=reject, **about).refuse(error)
        return of_calls(message, body, ack, reject, callbacks, **keywords)

    return hand_over
