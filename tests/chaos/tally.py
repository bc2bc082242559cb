"""Tally: what was sent, run and answered, and whether it comes out even. Used by one thread."""

from __future__ import annotations

from collections import Counter
from pathlib import Path


class Tally:
    """The calls 0 to `calls` - 1. A call may be sent under several ids, when it was not known to be accepted."""

    def __init__(self, calls: int, runs: Path) -> None:
        self.calls, self._runs, self._read = calls, runs, 0
        self.sent: set[int] = set()
        self.answered: set[int] = set()
        self.wrong: list[str] = []
        self.answers: Counter[object] = Counter()
        self.run: Counter[int] = Counter()
        self.faults: Counter[str] = Counter()
        self.poison_sent = self.poison_answered = 0

    def look_at_runs(self) -> None:
        """Read what the workers have noted since the last time."""
        if not self._runs.exists():
            return
        with self._runs.open() as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind("\n") + 1]
        self._read += len(whole)
        self.run.update(int(line) for line in whole.split())

    @property
    def run_twice(self) -> int:
        return sum(1 for count in self.run.values() if count > 1)

    @property
    def answered_twice(self) -> int:
        return sum(1 for count in self.answers.values() if count > 1)

    @property
    def lost(self) -> set[int]:
        """What was sent and is not answered (yet)."""
        return self.sent - self.answered

    @property
    def complete(self) -> bool:
        return len(self.answered) == self.calls and self.poison_answered >= self.poison_sent

    def rows(self) -> list[tuple[str, str]]:
        return [
            ("sent", f"{len(self.sent):,} of {self.calls:,}"),
            ("answered", f"{len(self.answered):,}"),
            ("run", f"{len(self.run):,}"),
            ("run twice", f"{self.run_twice:,}"),
            ("under way or lost", f"{len(self.lost):,}"),
            ("answered twice", f"{self.answered_twice:,}"),
            ("wrong answers", f"{len(self.wrong):,}"),
            ("poison answered", f"{self.poison_answered} of {self.poison_sent}"),
            *((name, f"{count:,}") for name, count in sorted(self.faults.items())),
        ]

    def verdict(self) -> list[str]:
        """What is wrong; empty when all is well."""
        problems = [f"{len(self.lost)} call(s) lost, as {sorted(self.lost)[:5]}"] if self.lost else []
        problems += [f"{self.answered_twice} call(s) answered twice"] if self.answered_twice else []
        problems += [f"{len(self.wrong)} wrong answer(s), as {self.wrong[:3]}"] if self.wrong else []
        if len(self.sent) < self.calls:
            problems.append(f"{self.calls - len(self.sent)} call(s) were never sent")
        if self.poison_answered < self.poison_sent:
            problems.append(f"{self.poison_sent - self.poison_answered} poison call(s) were never answered")
        return problems
