"""Receipts: leases renewed, and messages deleted or given back, in batches, by one thread.

A received message is leased for its visibility timeout. The thread renews every lease it holds at a third
of that time, so that a short timeout (a crash is noticed soon) serves a long call. Deletes and releases are
handed over without waiting and coalesced while a request is under way.

Promise: a delete that fails for a passing reason is tried again until it succeeds or its lease has lapsed;
afterwards the message comes again, which at-least-once delivery allows.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from asyncmcp_kombu.broker.sqs_errors import MISSING_QUEUE, error_code, is_passing

logger = logging.getLogger(__name__)

BATCH = 10
_GATHER, _GATHER_MORE = 0.005, 0.02
"""Seconds for which deletes wait for company: nobody waits for one, and it would take the CPU from who does."""
_SOON = 0.1
"""Seconds after which a batch does not tell that more are coming, for which the next one waits longer."""
_RETRY_AFTER = 0.5
_CLOSING = 5.0
"""Seconds within which `close` tries to get rid of what is pending."""


class Receipt(NamedTuple):
    """What SQS knows a received message by."""

    queue_url: str
    handle: str

    @classmethod
    def of(cls, message: Any) -> Receipt:
        """Of a message that was delivered."""
        return cls(message.delivery_info["queue_url"], message.delivery_tag)

    @classmethod
    def of_payload(cls, payload: dict[str, Any]) -> Receipt:
        """Of one that is yet to be."""
        properties = payload["properties"]
        return cls(properties["delivery_info"]["queue_url"], properties["delivery_tag"])


class _Order(NamedTuple):
    action: Literal["delete", "release"]
    receipt: Receipt
    lapses_at: float
    after: int = 0


class Receipts:
    """The receipts of one connection. All methods may be called from any thread and return at once."""

    def __init__(self, client: Callable[[], Any], visibility_timeout: int) -> None:
        self._client = client
        self._visibility_timeout = visibility_timeout
        self._lapses_at: dict[Receipt, float] = {}
        self._orders: deque[_Order] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def hold(self, receipt: Receipt) -> None:
        """Keep the message leased until it is deleted or released."""
        with self._changed:
            self._lapses_at[receipt] = time.monotonic() + self._visibility_timeout
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="asyncmcp-sqs-receipts", daemon=True)
                self._thread.start()
            else:
                self._changed.notify()

    def delete(self, receipt: Receipt) -> None:
        """The message is done with."""
        self._give("delete", receipt)

    def release(self, receipt: Receipt, after: int = 0) -> None:
        """The message is given back: any consumer may receive it, at once or after so many seconds."""
        self._give("release", receipt, after)

    def _give(self, action: Literal["delete", "release"], receipt: Receipt, after: int = 0) -> None:
        with self._changed:
            lapses_at = self._lapses_at.pop(receipt, None)
            if lapses_at is not None:
                self._orders.append(_Order(action, receipt, lapses_at, after))
                self._changed.notify()

    def close(self) -> None:
        """Give back all that is held, carry out what is pending (within seconds), and end the thread."""
        with self._changed:
            self._closing = True
            for receipt in list(self._lapses_at):
                self._orders.append(_Order("release", receipt, self._lapses_at.pop(receipt)))
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_CLOSING + 1)

    def _run(self) -> None:
        deadline: float | None = None
        sent_at = 0.0
        while True:
            with self._changed:
                while not (self._orders or self._closing or self._due()):
                    self._changed.wait(self._until_due())
                if self._orders and not self._closing:
                    now = time.monotonic()
                    gather_until = now + (_GATHER_MORE if now - sent_at < _SOON else _GATHER)
                    while len(self._orders) < BATCH and not self._closing and time.monotonic() < gather_until:
                        self._changed.wait(gather_until - time.monotonic())
                if self._closing:
                    deadline = deadline or time.monotonic() + _CLOSING
                    if not self._orders or time.monotonic() > deadline:
                        return
                orders = [self._orders.popleft() for _ in range(min(len(self._orders), BATCH * 4))]
                due = [] if self._closing else self._due()
            failed = self._carry_out(orders)
            sent_at = time.monotonic()
            self._renew(due)
            if failed:
                retry_at = time.monotonic() + _RETRY_AFTER
                with self._changed:
                    self._orders.extend(failed)
                    while not self._closing and time.monotonic() < retry_at:
                        self._changed.wait(retry_at - time.monotonic())

    def _renew_from(self) -> float:
        return self._visibility_timeout * 2 / 3

    def _due(self) -> list[Receipt]:
        # A little early, so that leases taken one after the other are renewed together.
        threshold = time.monotonic() + self._renew_from() + self._visibility_timeout / 10
        return [receipt for receipt, lapses_at in self._lapses_at.items() if lapses_at <= threshold]

    def _until_due(self) -> float | None:
        if not self._lapses_at:
            return None
        return max(0.05, min(self._lapses_at.values()) - self._renew_from() - time.monotonic())

    def _carry_out(self, orders: list[_Order]) -> list[_Order]:
        """Send the orders in batches; returns those to try again."""
        again: list[_Order] = []
        for action, url, batch in _batches(orders):
            entries = [{"Id": str(i), "ReceiptHandle": order.receipt.handle} for i, order in enumerate(batch)]
            try:
                if action == "delete":
                    answer = self._client().delete_message_batch(QueueUrl=url, Entries=entries)
                else:
                    answer = self._change_visibility(url, entries, [order.after for order in batch])
            except (BotoCoreError, ClientError, OSError) as error:
                if not is_passing(error):
                    level = logging.DEBUG if error_code(error) in MISSING_QUEUE else logging.WARNING
                    logger.log(level, "cannot %s %d message(s): %s", action, len(batch), error)
                    continue
                logger.warning("cannot %s %d message(s), will try again: %s", action, len(batch), error)
                again.extend(order for order in batch if order.lapses_at > time.monotonic())
                continue
            for failed in answer.get("Failed", ()):
                order = batch[int(failed["Id"])]
                if failed.get("SenderFault") or order.lapses_at <= time.monotonic():
                    logger.debug("SQS did not %s a message: %s", action, failed.get("Code"))
                else:
                    again.append(order)
        return again

    def _renew(self, receipts: list[Receipt]) -> None:
        orders = [_Order("release", receipt, 0.0) for receipt in receipts]
        for _, url, batch in _batches(orders):
            entries = [{"Id": str(i), "ReceiptHandle": order.receipt.handle} for i, order in enumerate(batch)]
            now = time.monotonic()
            try:
                answer = self._change_visibility(url, entries, [self._visibility_timeout] * len(batch))
            except (BotoCoreError, ClientError, OSError) as error:
                again = is_passing(error)
                logger.warning("cannot renew %d lease(s)%s: %s", len(batch), ", will try again" * again, error)
                lapses_at = now + self._renew_from() + 1.0
                failed = set[int]() if again else set(range(len(batch)))
            else:
                lapses_at = now + self._visibility_timeout
                failed = {int(entry["Id"]) for entry in answer.get("Failed", ())}
            with self._changed:
                for i, order in enumerate(batch):
                    if i in failed:  # lapsed: somebody else has the message, or will
                        self._lapses_at.pop(order.receipt, None)
                    elif order.receipt in self._lapses_at:
                        self._lapses_at[order.receipt] = lapses_at

    def _change_visibility(self, url: str, entries: list[dict[str, Any]], seconds: list[int]) -> dict[str, Any]:
        entries = [{**entry, "VisibilityTimeout": each} for entry, each in zip(entries, seconds, strict=True)]
        return self._client().change_message_visibility_batch(QueueUrl=url, Entries=entries)


def _batches(orders: list[_Order]) -> list[tuple[str, str, list[_Order]]]:
    grouped: dict[tuple[str, str], list[_Order]] = {}
    for order in orders:
        grouped.setdefault((order.action, order.receipt.queue_url), []).append(order)
    return [
        (action, url, group[start : start + BATCH])
        for (action, url), group in grouped.items()
        for start in range(0, len(group), BATCH)
    ]
