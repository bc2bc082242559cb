"""Ordering: gives back the order that a broker may lose, and drops what it delivers twice.

A server numbers what it sends for one request (0, 1, 2, …; the response is the last). Messages without a
number, as other peers send them, pass at once. A gap is waited for only so long: progress that never comes
must not hold back a response.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field

from asyncmcp_kombu.envelope import Envelope

PATIENCE = 1.0
"""Seconds for which a message waits for an earlier one."""
_REMEMBERED = 65_536
"""Answered requests whose late duplicates are recognised: more than a client gets answered in two leases."""


@dataclass(slots=True)
class _Sequence:
    expected: int = 0
    held: dict[int, Envelope] = field(default_factory=lambda: {})
    gives_up_at: float = 0.0


class Ordering:
    """The order of what arrives for one client. Not thread-safe: it belongs to one task."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._sequences: OrderedDict[str, _Sequence] = OrderedDict()
        self._answered: OrderedDict[str, None] = OrderedDict()

    def accept(self, envelope: Envelope) -> list[Envelope]:
        """What may be handed on now that `envelope` has arrived, in order; empty for a duplicate or a gap."""
        if envelope.sequence is None or envelope.belongs_to is None:
            return [envelope]
        key = str(envelope.belongs_to)
        if key in self._answered:
            return []
        sequence = self._sequences.setdefault(key, _Sequence())
        if len(self._sequences) > _REMEMBERED:  # requests that were never answered
            self._sequences.popitem(last=False)
        if envelope.sequence < sequence.expected:
            # A call that ran again counts anew from 0: what was seen is dropped, the response never is.
            return self._answer(key, sequence, envelope) if envelope.kind == "response" else []
        if not sequence.held:
            sequence.gives_up_at = time.monotonic() + self._patience
        if envelope.kind == "response" or envelope.sequence not in sequence.held:
            sequence.held[envelope.sequence] = envelope  # of two runs with equal numbers, the response counts
        ready: list[Envelope] = []
        while (following := sequence.held.pop(sequence.expected, None)) is not None:
            sequence.expected += 1
            ready.append(following)
            if following.kind == "response":
                self._forget(key)
                break
        return ready

    def asked(self, request_id: object) -> None:
        """A request is about to be sent: an id that was used, and answered, before may be used again."""
        self._forget(str(request_id))
        self._answered.pop(str(request_id), None)

    def next_deadline(self) -> float | None:
        """Monotonic time at which `overdue` has something to hand on, if nothing arrives before."""
        return min((s.gives_up_at for s in self._sequences.values() if s.held), default=None)

    def overdue(self) -> list[Envelope]:
        """What has waited long enough for an earlier message."""
        now, ready = time.monotonic(), list[Envelope]()
        for key, sequence in list(self._sequences.items()):
            if not sequence.held or sequence.gives_up_at > now:
                continue
            for number in sorted(sequence.held):
                ready.append(sequence.held.pop(number))
                sequence.expected = number + 1
                if ready[-1].kind == "response":
                    self._forget(key)
                    break
        return ready

    def _answer(self, key: str, sequence: _Sequence, response: Envelope) -> list[Envelope]:
        earlier = [sequence.held[number] for number in sorted(sequence.held)]
        self._forget(key)
        return [*(envelope for envelope in earlier if envelope.kind != "response"), response]

    def _forget(self, key: str) -> None:
        self._sequences.pop(key, None)
        self._answered[key] = None
        if len(self._answered) > _REMEMBERED:
            self._answered.popitem(last=False)
