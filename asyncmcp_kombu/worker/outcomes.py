"""Outcomes: what a call was answered, kept until nobody can ask again, so that a finished call does not run twice.

A worker may die after its reply was sent and before the broker's message is acknowledged; then the broker delivers
the finished call again. Its answer is written to the app's result backend while the reply is on its way, and the
message is acknowledged when both are done. One thread per process writes; what comes in meanwhile goes together.

Without the backend calls are answered all the same, with a warning; what is delivered again may then run again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import threading
import time
from concurrent.futures import Future
from typing import Any, NamedTuple

from celery import Celery
from mcp_types.jsonrpc import ErrorData

from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.server.cancellation import key_of
from asyncmcp_kombu.server.replies import Publish
from asyncmcp_kombu.server.serving import Answer
from asyncmcp_kombu.settings import Dedupe, Settings
from asyncmcp_kombu.worker.forking import not_while_forking
from asyncmcp_kombu.worker.outcome_store import OutcomeStore, Row, store_for

logger = logging.getLogger(__name__)

AT_ONCE = 100
PATIENCE = 2.0
"""Seconds for which an acknowledgement waits for the outcome to be kept."""
_PAUSE = 5.0
"""Seconds for which nothing is written after the backend failed."""
_END = object()


class _Order(NamedTuple):
    row: Row
    done: Future[bool]
    """Whether the row is kept."""


class Outcomes:
    """The outcomes of one process's calls. Any thread may use it; nothing blocks but `look_up`."""

    def __init__(self, app: Celery, settings: Settings) -> None:
        self._app, self._ttl = app, settings.outcome_ttl
        self._orders: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._lock, self._opening = threading.Lock(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._store: OutcomeStore | None = None
        self._opened = self._closed = False
        self._away_until = 0.0

    def keep(self, key: str, text: str) -> Future[bool]:
        """The future is done when the outcome is kept, or cannot be: it never has an exception."""
        order = _Order(Row(key, text), Future())
        with self._lock:
            if self._closed or time.monotonic() < self._away_until:
                order.done.set_result(False)
                return order.done
            self._orders.put(order)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="asyncmcp-outcomes", daemon=True)
                self._thread.start()
        return order.done

    def look_up(self, key: str) -> str | None:
        """The outcome that was kept for the call; None when there is none, or the backend is away. Blocks."""
        if time.monotonic() < self._away_until:
            return None
        try:
            store = self._opened_store()
            return None if store is None else store.read(key)
        except Exception as error:
            self._failed(error, "a call that was delivered before may run again")
            return None

    def wait(self, kept: Future[bool]) -> bool:
        """Block until it is kept, for two seconds at most, and tell whether it is. Raises nothing."""
        try:
            return kept.result(PATIENCE)
        except TimeoutError as error:
            self._failed(error, "the outcome of a call is not kept in time")
            return False

    def note(self, key: str) -> bool:
        """Keep a mark that other workers may look for. False when it cannot be kept. Blocks.

        Where nobody else could find it (a backend that keeps nothing, or SQLite) there is none, and that is no failure.
        """
        try:
            store = self._opened_store()
        except Exception as error:
            self._failed(error, "an at-most-once tool is not started")
            return False
        return store is None or not store.shared or self.wait(self.keep(key, "{}"))

    def lacks(self, key: str) -> bool:
        """Whether it is certain that no worker has made this mark. Blocks."""
        try:
            store = self._opened_store()
            return store is not None and store.shared and store.read(key) is None
        except Exception as error:
            self._failed(error, "an at-most-once tool is not run again")
            return False

    def close(self) -> None:
        """Write what was handed over, for a few seconds at most, and end the thread."""
        with self._lock:
            self._closed, thread = True, self._thread
        if thread is not None:
            self._orders.put(_END)
            thread.join(PATIENCE)

    def _run(self) -> None:
        while True:
            batch = self._gather()
            if not batch:
                if self._store is not None:
                    self._store.close()
                return
            kept = False
            try:
                with not_while_forking():
                    store = self._opened_store()
                    if store is not None:
                        store.write([order.row for order in batch])
                        kept = True
            except Exception as error:
                self._failed(error, "outcomes of calls are not kept")
            finally:
                for order in batch:
                    order.done.set_result(kept)

    def _gather(self) -> list[_Order]:
        batch: list[_Order] = []
        try:
            while len(batch) < AT_ONCE:
                order = self._orders.get(block=not batch)
                if order is _END:
                    if batch:
                        self._orders.put(_END)
                    break
                batch.append(order)
        except queue.Empty:
            pass
        return batch

    def _opened_store(self) -> OutcomeStore | None:
        with self._opening:
            if not self._opened:
                self._store = store_for(self._app, self._ttl)
                self._opened = True
                if self._store is None:
                    logger.warning("the app's result backend keeps nothing: a finished call may run again")
            return self._store

    def _failed(self, error: Exception, so: str) -> None:
        """Said once, and left alone for a while: every call would wait for it."""
        with self._lock:
            known = time.monotonic() < self._away_until
            self._away_until = time.monotonic() + _PAUSE
        if not known:
            logger.warning("the result backend fails (%s), so %s", type(error).__name__, so)


class Outcome:
    """The outcome of one call: looked up before its tool runs, recorded with its reply."""

    def __init__(self, outcomes: Outcomes, key: str, *, looks_up: bool, records: bool) -> None:
        self._outcomes, self._key = outcomes, key
        self._looks_up, self.records = looks_up, records
        self._kept: Future[bool] | None = None

    def earlier(self) -> Answer:
        """What the call was answered before; None when it has to run. Blocks while it looks."""
        text = self._outcomes.look_up(self._key) if self._looks_up else None
        if text is None:
            return None
        response = json.loads(text)
        self.records = False
        return ErrorData.model_validate(response["error"]) if "error" in response else response["result"]

    def recording(self, publish: Publish) -> Publish:
        """Publishes likewise, and records the response."""

        def publish_and_record(address: str, envelope: Envelope) -> Future[None]:
            sent = publish(address, envelope)
            refused = sent.done() and sent.exception() is not None  # too large: another response follows
            if self.records and envelope.kind == "response" and not refused and not _is_handle(envelope):
                self._kept = self._outcomes.keep(self._key, envelope.body.decode())
            return sent

        return publish_and_record

    def wait(self) -> None:
        """Block until what was recorded is kept. Raises nothing."""
        if self._kept is not None:
            self._outcomes.wait(self._kept)


def outcome_of(outcomes: Outcomes, task: Any, request: Envelope, mode: Dedupe, *, again: bool) -> Outcome | None:
    """The outcome of a call in its Celery task; None for what need not be kept.

    Only calls of tools are: the rest reads, and a call that became a task has a record of its own. A call that says
    not whose it is has no name under which its outcome could be found again.

    Args:
        mode: that of the settings, unless the tool says otherwise.
        again: the broker has delivered the call before.
    """
    mode = getattr(task.mcp_tool, "dedupe", None) or mode
    if mode == "off" or request.method != "tools/call" or key_of(request) is None:
        return None
    return Outcome(outcomes, outcome_key(request), looks_up=again or mode == "always", records=True)


def outcome_key(request: Envelope) -> str:
    """The same for every delivery of one call and for no other: a client may use an id again for another one."""
    content = json.dumps([key_of(request), request.params], sort_keys=True, separators=(",", ":"))
    return f"mcp-outcome-{hashlib.sha256(content.encode()).hexdigest()}"


def _is_handle(envelope: Envelope) -> bool:
    """Whether it answers with a task, which is kept as such."""
    result = envelope.message.get("result")
    return isinstance(result, dict) and result.get("resultType") == "task"
