"""One long poll on one queue, in a thread of its own, as fast as the consumer has room.

Nothing blocks the worker's event loop: the thread waits for room (the prefetch count), receives up to ten
messages, and hands them over. While the broker is away it tries again with growing pauses.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

logger = logging.getLogger(__name__)

MOST = 10
LONGEST_PAUSE = 5.0
SHORT_POLL_PAUSE = 0.1
"""Seconds between polls that do not wait (`wait_time` 0), or they would be as many as the network allows."""


class Poller:
    """Receives from one queue until stopped.

    Args:
        receive: blocks in one long poll for at most that many messages and returns them.
        room: how many messages the consumer may take now.
        most: how many messages one poll may bring, 10 at most.
        longest_pause: seconds, the longest pause between two tries while SQS cannot be reached.
        empty_pause: seconds after a poll that brought nothing; 0 where polls wait for messages.
        interruptions: counts how often polls were interrupted, to tell that from a failure.
        deliver: takes over received messages; must not block.
    """

    def __init__(
        self,
        queue: str,
        receive: Callable[[int], list[dict[str, Any]]],
        room: Callable[[], int],
        deliver: Callable[[list[dict[str, Any]]], None],
        interruptions: Callable[[], int],
        *,
        most: int = MOST,
        longest_pause: float = LONGEST_PAUSE,
        empty_pause: float = 0.0,
    ) -> None:
        self._most, self._longest_pause, self._empty_pause = most, longest_pause, empty_pause
        self.queue = queue
        self._receive, self._room, self._deliver = receive, room, deliver
        self._interruptions = interruptions
        self._wakeup = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"asyncmcp-sqs-poll-{queue}", daemon=True)
        self._thread.start()

    def room_changed(self) -> None:
        """There may be room again. Any thread may call this."""
        self._wakeup.set()

    def stop(self) -> None:
        """Take no further message. The long poll under way must be interrupted by the caller."""
        self._stopped.set()
        self._wakeup.set()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    def _run(self) -> None:
        pause = 0.1
        while not self._stopped.is_set():
            self._wakeup.clear()
            room = self._room()
            if room <= 0:
                self._wakeup.wait(1.0)
                continue
            interruptions = self._interruptions()
            try:
                messages = self._receive(min(room, self._most))
            except (BotoCoreError, ClientError, HTTPClientError, OSError) as error:
                if self._stopped.is_set():
                    return
                if self._interruptions() != interruptions:  # another queue's consumer was cancelled
                    continue
                logger.warning("cannot receive from %s, trying again in %.1f s: %s", self.queue, pause, error)
                self._stopped.wait(pause)
                pause = max(0.1, min(pause * 2, self._longest_pause))
                continue
            pause = 0.1
            if messages:
                self._deliver(messages)
            elif self._empty_pause:
                self._stopped.wait(self._empty_pause)
