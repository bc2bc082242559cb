"""One long poll on one queue, in a thread of its own, as fast as the consumer has room; two when messages wait.

Nothing blocks the worker's event loop: the thread waits for room (the prefetch count), receives up to ten
messages, and hands them over. While the broker is away it tries again with growing pauses. A second thread
receives as long as the first one gets all that it asks for: then more is waiting.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

logger = logging.getLogger(__name__)

MOST = 10
_SHORT_POLL = 1
"""Seconds that a second poll waits."""
LONGEST_PAUSE = 5.0
_FIRST_PAUSE = 0.1
_AFTER_YOU = 0.003
"""Seconds before the next poll when one brought less than it might have: to prepare a request would take the
interpreter from the messages that it brought."""
SHORT_POLL_PAUSE = 0.1
"""Seconds between polls that do not wait (`wait_time` 0), or they would be as many as the network allows."""


class Poller:
    """Receives from one queue until stopped.

    Args:
        receive: blocks in one long poll for at most that many messages and returns them; it waits for at most so
            many seconds, or as long as is configured.
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
        receive: Callable[[int, int | None], list[dict[str, Any]]],
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
        self._busy = threading.Event()
        self._pause = _FIRST_PAUSE
        self._asked_for, self._lock = 0, threading.Lock()
        self._second: threading.Thread | None = None
        self._thread = self._started(self._run_first)

    def _started(self, run: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=run, name=f"asyncmcp-sqs-poll-{self.queue}", daemon=True)
        thread.start()
        return thread

    def room_changed(self) -> None:
        """There may be room again. Any thread may call this."""
        self._wakeup.set()

    def stop(self) -> None:
        """Take no further message. The long polls under way must be interrupted by the caller."""
        self._stopped.set()
        self._wakeup.set()
        self._busy.set()

    def is_alive(self) -> bool:
        return self._thread.is_alive() or (self._second is not None and self._second.is_alive())

    def join(self, timeout: float) -> None:
        give_up_at = time.monotonic() + timeout
        self._thread.join(timeout)
        if self._second is not None:  # which the first one may have started last thing
            self._second.join(max(0.0, give_up_at - time.monotonic()))

    def _run_first(self) -> None:
        while not self._stopped.is_set():
            self._wakeup.clear()
            asked = self._claim()
            if not asked:
                self._wakeup.wait(1.0)
                continue
            if self._poll(asked, None) == self._most and not self._stopped.is_set():
                self._busy.set()
                if self._second is None:
                    self._second = self._started(self._run_second)

    def _run_second(self) -> None:
        """Only while the queue is busy: a poll that brings less than a full batch is the last one."""
        while not self._stopped.is_set():
            self._busy.wait()
            asked = 0 if self._stopped.is_set() else self._claim()
            if asked < self._most or self._poll(asked, _SHORT_POLL) < self._most:
                self._give_back(asked if asked < self._most else 0)
                if not self._stopped.is_set():
                    self._busy.clear()

    def _claim(self) -> int:
        """How many messages one poll may ask for: room that no other poll has asked for."""
        with self._lock:
            asked = max(0, min(self._most, self._room() - self._asked_for))
            self._asked_for += asked
            return asked

    def _give_back(self, asked: int) -> None:
        with self._lock:
            self._asked_for -= asked

    def _poll(self, asked: int, seconds: int | None) -> int:
        """One request; how many messages it brought."""
        interruptions = self._interruptions()
        try:
            messages = self._receive(asked, seconds)
            if messages:
                self._deliver(messages)
        except (BotoCoreError, ClientError, HTTPClientError, OSError) as error:
            # An interruption of another queue's consumer interrupts this one, too: it just goes on.
            if not self._stopped.is_set() and self._interruptions() == interruptions:
                logger.warning("cannot receive from %s, trying again in %.1f s: %s", self.queue, self._pause, error)
                self._stopped.wait(self._pause)
                self._pause = max(_FIRST_PAUSE, min(self._pause * 2, self._longest_pause))
            return 0
        finally:
            self._give_back(asked)
        self._pause = _FIRST_PAUSE
        if len(messages) < asked:
            self._stopped.wait(_AFTER_YOU if messages else self._empty_pause)
        return len(messages)
