"""Consumer: Celery's, with acknowledgements that do not wait for the next event, and dead children noticed soon.

Kombu's event loop runs what `call_soon` was given before it polls, and not what that in turn scheduled: an
acknowledgement from within a callback waits until some socket is readable or a timer fires, up to a second
(Kombu 5.7, `Hub.create_loop`). With a prefetch count as small as ours the next call would wait with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from celery.utils.log import get_logger
from celery.worker.consumer import Consumer as CeleryConsumer

from asyncmcp_kombu.worker.garbage import leave_alone_what_is_loaded
from asyncmcp_kombu.worker.prefork import hear_what_has_begun, look_after_children

logger = get_logger(__name__)


class Consumer(CeleryConsumer):
    """Named in Celery's setting `worker_consumer` by `serve_mcp`."""

    _thread: int | None = None
    _ready = False

    def start(self) -> None:
        self._thread = threading.get_ident()
        super().start()

    def on_ready(self) -> None:
        """Called whenever the connection is up, also again after it was lost."""
        if not self._ready:
            self._ready = True
            leave_alone_what_is_loaded()
        super().on_ready()

    def register_with_event_loop(self, hub: Any) -> None:
        super().register_with_event_loop(hub)
        look_after_children(self.pool, hub)

    def on_close(self) -> None:
        """Called when the connection is lost, and at shutdown: what has not begun then is given back."""
        hear_what_has_begun(self.pool, self.hub)
        super().on_close()

    def call_soon_ack(self, p: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Settle at once in the consumer's own thread; from another one, through the event loop, which wakes."""
        if self.hub is None or threading.get_ident() != self._thread:
            return super().call_soon_ack(p, *args, **kwargs)
        try:
            p(*args, **kwargs)
        except Exception:
            logger.exception("a message could not be settled")
        return p
