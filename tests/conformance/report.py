"""The results for a terminal: a table of scenarios and versions, and what went wrong."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.conformance.results import Scenario
from tests.conformance.suite import Outcome

_LONGEST = 300


def show(console: Console, backend: str, outcomes: Sequence[Outcome]) -> None:
    """A table for one backend, its failed checks with messages and reasons, and the totals."""
    console.print(_table(backend, outcomes))
    for outcome in outcomes:
        for scenario in outcome.scenarios:
            _show_failures(console, outcome, scenario)
        if outcome.verdict:
            console.print(Text.from_ansi(outcome.verdict), soft_wrap=True)
    for outcome in outcomes:
        style = "green" if outcome.good else "red"
        text = f"{backend}, {outcome.version}: {outcome.passed} of {outcome.decided} checks passed"
        if outcome.undecided:
            text += f"; {outcome.undecided} that the SDK's own server passes were left out"
        console.print(text, style=style, soft_wrap=True)


def _table(backend: str, outcomes: Sequence[Outcome]) -> Table:
    table = Table(title=f"MCP conformance: {backend}", title_justify="left")
    table.add_column("scenario", overflow="fold")
    for outcome in outcomes:
        table.add_column(outcome.version, justify="right", no_wrap=True)
    by_version = [{scenario.name: scenario for scenario in outcome.scenarios} for outcome in outcomes]
    for name in dict.fromkeys(name for scenarios in by_version for name in scenarios):
        table.add_row(name, *(_cell(scenarios.get(name)) for scenarios in by_version))
    return table


def _cell(scenario: Scenario | None) -> Text:
    if scenario is None:
        return Text("–", style="dim")
    warnings = scenario.count("WARNING")
    text = f"{scenario.passed}/{scenario.decided}" + (f" +{warnings} warned" if warnings else "")
    clean = not any(check.bad for check in scenario.checks)
    return Text(text, style="green" if clean else "red")


def _show_failures(console: Console, outcome: Outcome, scenario: Scenario) -> None:
    for check in scenario.checks:
        if not check.bad:
            continue
        name = f"{scenario.name}:{check.id}"
        reason = outcome.expected.get(name) or outcome.expected.get(scenario.name)
        mark, note = ("~", f"expected: {reason}") if reason else ("✗", check.message[:_LONGEST])
        console.print(
            f"{mark} {outcome.version} {name} ({check.status.lower()})\n    {note}", markup=False, soft_wrap=True
        )
