"""What the suite wrote: a directory per scenario, with its checks as JSON."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_DIRECTORY: Final = re.compile(r"server-(?P<scenario>.+)-(?P<time>\d{4}-\d\d-\d\dT[\d-]+Z)")


@dataclass(frozen=True, slots=True)
class Check:
    """One check; `status` is the suite's: SUCCESS, FAILURE, WARNING, SKIPPED or INFO."""

    id: str
    status: str
    message: str = ""

    @property
    def bad(self) -> bool:
        """Whether the suite wants it in the baseline: it takes warnings for failures there."""
        return self.status in ("FAILURE", "WARNING")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario and its checks."""

    name: str
    checks: tuple[Check, ...]

    def count(self, *statuses: str) -> int:
        return sum(check.status in statuses for check in self.checks)

    @property
    def passed(self) -> int:
        return self.count("SUCCESS")

    @property
    def decided(self) -> int:
        """Checks that passed or failed, as the suite's own summary counts them."""
        return self.count("SUCCESS", "FAILURE")


def read(directory: Path) -> list[Scenario]:
    """All scenarios in the order in which they ran. One without results has a failed check that says so."""
    found = [(match, path) for path in directory.iterdir() if (match := _DIRECTORY.fullmatch(path.name))]
    found.sort(key=lambda one: one[0]["time"])
    return [Scenario(match["scenario"], _checks(path / "checks.json")) for match, path in found]


def _checks(file: Path) -> tuple[Check, ...]:
    if not file.exists():
        return (Check("no-results", "FAILURE", "it broke off, or is not for this version (then --force runs it)"),)
    return tuple(Check(one["id"], one["status"], one.get("errorMessage") or "") for one in json.loads(file.read_text()))
