"""The report: a table beside the targets, all that was measured, and a plot, in docs/benchmarks/."""

from __future__ import annotations

import json
import math
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

Results = dict[str, dict[str, Any]]


class Row(NamedTuple):
    """One row of the table of targets. `key`s are part, name and field; `best` is max or min."""

    measure: str
    ours: tuple[str, str, str]
    target: float
    best: str
    unit: str
    others: tuple[tuple[str, str, str], ...] = ()


ROWS = (
    Row("sequential call, 10 ms per API request, p50", ("sqs10ms", "ours 1", "p50"), 26, "min", "ms",
        (("sqs10ms", "boto3 1", "p50"), ("sqs10ms", "asyncmcp 1", "p50"))),
    Row("64 in flight, 10 ms per API request", ("sqs10ms", "ours 64", "per_second"), 500, "max", "/s",
        (("sqs10ms", "boto3 64", "per_second"), ("sqs10ms", "asyncmcp 64", "per_second"))),
    Row("API requests per call, 64 in flight", ("sqs10ms", "ours 64", "requests_per_call"), 0.8, "min", "",
        (("sqs10ms", "boto3 64", "requests_per_call"), ("sqs10ms", "asyncmcp 64", "requests_per_call"))),
    Row("the same, prefork with 8 children", ("prefork", "ours prefork 64", "per_second"), 350, "max", "/s"),
    Row("API requests per call, prefork", ("prefork", "ours prefork 64", "requests_per_call"), 2.7, "min", ""),
    Row("sequential call on fauxqs, p50", ("fauxqs", "ours 1", "p50"), 11, "min", "ms",
        (("fauxqs", "boto3 1", "p50"), ("fauxqs", "asyncmcp 1", "p50"))),
    Row("64 in flight on fauxqs", ("fauxqs", "ours 64", "per_second"), 450, "max", "/s",
        (("fauxqs", "boto3 64", "per_second"), ("fauxqs", "asyncmcp 64", "per_second"))),
    Row("worker CPU per call", ("sqs10ms", "ours 64", "worker_cpu"), 2.5, "min", "ms",
        (("http", "SDK over HTTP 64", "worker_cpu"), ("tasks", "FastMCP plain 64", "worker_cpu"))),
    Row("worker CPU per task call", ("tasks", "ours task 64", "worker_cpu"), 5, "min", "ms",
        (("tasks", "FastMCP task 64", "worker_cpu"),)),
    Row("task calls, 64 in flight, Redis", ("tasks", "ours task 64", "per_second"), 250, "max", "/s",
        (("tasks", "FastMCP task 64", "per_second"),)),
    Row("failures at 256 in flight", ("many", "ours 256", "failed"), 0, "min", ""),
    Row("failures at 1,000 in flight", ("many", "ours 1000", "failed"), 0, "min", ""),
    Row("500 calls at once of a 1 s async tool, one process", ("naps", "ours 500", "took"), 2, "min", "s"),
    Row("threads of 1,000 idle sessions", ("idle", "ours sessions", "threads"), 16, "min", ""),
    Row("first call of an idle session", ("idle", "ours sessions", "first_call"), 100, "min", "ms"),
    Row("API requests of an idle client per hour", ("idle", "ours idle", "requests_per_hour"), 200, "min", ""),
    Row("10,000 waiting requests, drained", ("backlog", "ours", "per_second"), 500, "max", "/s"),
)  # fmt: skip
_FIELDS = ("calls", "failed", "per_second", "p50", "p99", "client_cpu", "worker_cpu", "requests_per_call")


def write(results: Results, loads: dict[str, str], where: Path) -> None:
    """Write `results.md`, `results.json` and, with matplotlib, `results.svg`."""
    where.mkdir(parents=True, exist_ok=True)
    facts = machine()
    (where / "results.json").write_text(json.dumps({"machine": facts, "loads": loads, "results": results}, indent=1))
    (where / "results.md").write_text(_text(results, loads, facts))
    _plot(results, where / "results.svg")


def machine() -> dict[str, str]:
    """What was measured on, and with what."""
    names = ("asyncmcp-kombu", "mcp", "kombu", "celery", "boto3", "redis")
    cpu = next(
        (line.partition(": ")[2] for line in _cpuinfo().splitlines() if line.startswith("model name")),
        platform.processor(),
    )
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "CPU": f"{os.cpu_count()} cores, {cpu}",
        "Python": platform.python_version(),
        "system": platform.platform(),
        "versions": ", ".join(f"{name} {version(name)}" for name in names),
    }


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


def _text(results: Results, loads: dict[str, str], facts: dict[str, str]) -> str:
    lines = ["# Results", "", "Written by `make bench`; README.md says how to read it.", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += ["- load average when each part began: " + ", ".join(f"{part} {load}" for part, load in loads.items()), ""]
    lines += ["| measure | ours | target | met | floor and peers, same run |", "|---|---|---|---|---|"]
    for row in ROWS:
        value = _value(results, row.ours)
        if value is None:
            continue
        met = value >= row.target if row.best == "max" else value <= row.target
        bound = f"{'≥' if row.best == 'max' else '≤'} {row.target:g} {row.unit}".strip()
        others = [f"{key[1].rpartition(' ')[0]} {_shown(_value(results, key), row.unit)}" for key in row.others]
        cells = row.measure, _shown(value, row.unit), bound, "yes" if met else "**no**", ", ".join(others)
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## All that was measured", "", "CPU is in ms per call, p50 and p99 in ms.", ""]
    lines += ["| part | who, in flight | " + " | ".join(_FIELDS) + " |", "|---" * (len(_FIELDS) + 2) + "|"]
    for part, found in results.items():
        for name, one in found.items():
            if "absent" in one:
                lines.append(f"| {part} | {name} | absent: {one['absent']} |" + " |" * (len(_FIELDS) - 1))
            elif "calls" in one:
                shown = [_shown(one.get(field), "") for field in _FIELDS]
                lines.append(f"| {part} | {name} | {' | '.join(shown)} |")
    failures = [f"- {part}, {name}: {one['first_failure']}" for part, found in results.items()
                for name, one in found.items() if one.get("first_failure")]  # fmt: skip
    return "\n".join([*lines, *(["", "First failures:", *failures] if failures else []), ""])


def _value(results: Results, key: tuple[str, str, str]) -> float | None:
    part, name, field = key
    return results.get(part, {}).get(name, {}).get(field)


def _shown(value: float | None, unit: str) -> str:
    if value is None or math.isnan(value):
        return "–"
    digits = 0 if value == int(value) or value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {unit}".strip()


def _plot(results: Results, path: Path) -> None:
    try:
        import matplotlib as mpl
    except ImportError:
        return
    mpl.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(13, 4))
    panels = (("per_second", "calls per second, 64 in flight", " 64"), ("p50", "ms of a call alone, p50", " 1"),
              ("worker_cpu", "ms of worker CPU per call, 64 in flight", " 64"))  # fmt: skip
    for axis, (field, title, suffix) in zip(axes, panels, strict=True):
        bars = [(f"{name.removesuffix(suffix)} ({part})", one[field]) for part, found in results.items()
                for name, one in found.items() if name.endswith(suffix) and field in one]  # fmt: skip
        names, values = zip(*reversed(bars), strict=True) if bars else ((), ())
        colours = ["#d95f02" if name.startswith("ours") else "#999999" for name in names]
        axis.barh(names, values, color=colours)
        axis.bar_label(axis.containers[0], fmt="%.3g", padding=2, fontsize=7)
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.margins(x=0.15)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
