"""One run of the suite against a URL, for one version of the specification."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.conformance import results
from tests.conformance.processes import Process
from tests.conformance.results import Scenario

CHECKS: Final = {"2025-11-25": 84, "2026-07-28": 152}
"""How many checks the suite decides for each version when the SDK's own server is under test."""
TASKS: Final = tuple(
    f"tasks-{name}"
    for name in (
        "lifecycle",
        "capability-negotiation",
        "wire-fields",
        "request-state-removal",
        "mrtr-input",
        "request-headers",
        "dispatch-and-envelope",
        "status-notifications",
        "required-task-error",
        "mrtr-composition",
    )
)
"""The scenarios of the Tasks extension, which run by name only. The suite itself skips `tasks-status-notifications`."""
TASKS_VERSION: Final = "2026-07-28"
TASKS_CHECKS: Final = 44
_TIMEOUT = 1800
"""Seconds for a whole run, in which every scenario may take the suite's own 30 s."""
_VERDICTS = ("Stale baseline entries", "Unexpected failures (not in baseline)")


@dataclass(frozen=True, slots=True)
class Selection:
    """What to run: the whole suite, with the scenarios of tasks or without; or scenarios by name.

    `force` runs those at any version.
    """

    scenarios: Sequence[str] = ()
    force: bool = False
    tasks: bool = False

    def flags(self, version: str) -> list[list[str]]:
        """The suite's flags, for each time that it must be started."""
        force = ["--force"] if self.force else []
        by_name = [["--scenario", name, *force] for name in self.scenarios]
        if by_name:
            return by_name
        tasks = TASKS if self.tasks and version == TASKS_VERSION else ()
        return [["--suite", "all"], *(["--scenario", name, "--force"] for name in tasks)]

    def checks(self, version: str) -> int:
        """How many checks are decided when nothing is left out; 0: not known."""
        if self.scenarios:
            return 0
        return CHECKS.get(version, 0) + (TASKS_CHECKS if self.tasks and version == TASKS_VERSION else 0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out.

    Attributes:
        expected: reasons, by the name of a check or scenario that may fail.
        verdict: the suite's own last words, when a check failed unexpectedly, or passed so; else empty.
        checks: how many were to be decided, where that is known.
    """

    version: str
    scenarios: list[Scenario]
    expected: Mapping[str, str]
    verdict: str
    checks: int

    @property
    def passed(self) -> int:
        return sum(scenario.passed for scenario in self.scenarios)

    @property
    def decided(self) -> int:
        return sum(scenario.decided for scenario in self.scenarios)

    @property
    def undecided(self) -> int:
        """Checks that the suite left out, as it does where a server does not offer what they are about."""
        return max(0, self.checks - self.decided)

    @property
    def good(self) -> bool:
        """Everything passed but what is expected to fail, or, where it cannot even do that, to be left out."""
        may_be_left_out = self.undecided <= len(self.expected) or any(":" not in name for name in self.expected)
        return not self.verdict and self.passed > 0 and may_be_left_out


def run(
    command: Sequence[str], url: str, version: str, selection: Selection, expected: Mapping[str, str], directory: Path
) -> Outcome:
    """Run it, and leave in the directory what it wrote.

    Raises:
        CannotRun: it does not end.
    """
    directory.mkdir(parents=True)
    baseline = directory / "baseline.yml"
    baseline.write_text(json.dumps({"server": list(expected)}))  # JSON is YAML
    common = ["--url", url, "--spec-version", version, "--expected-failures", str(baseline), "-o", str(directory)]
    verdicts: list[str] = []
    for number, flags in enumerate(selection.flags(version), start=1):
        with Process([*command, *common, *flags], directory / f"output{number}.txt") as suite:
            if suite.wait(_TIMEOUT):
                verdicts.append(_last_words(suite.output()))
    return Outcome(version, results.read(directory), expected, "\n".join(verdicts), selection.checks(version))


def _last_words(output: str) -> str:
    """Which entries of the baseline are stale, and which failures not in it, as the suite says at its end."""
    lines = output.splitlines()
    starts = [number for number, line in enumerate(lines) if any(words in line for words in _VERDICTS)]
    return "\n".join(lines[starts[0] :] if starts else lines[-20:]).strip()
