"""The MCP Inspector, a real host, lists and calls a fleet's tools: `python -m tests.conformance.inspector`."""

from __future__ import annotations

import itertools
import json
import secrets
import sysconfig
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import anyio
import typer

from asyncmcp_kombu.tasks.companions import COMPANIONS
from tests.conformance import task_tools, terminal
from tests.conformance.backends import Places, bridge, workers
from tests.conformance.install import installed
from tests.conformance.processes import Process
from tests.conformance.server import NAME, make_server

_ERAS: Final = ("legacy", "modern")
"""The Inspector's words for 2025-11-25 (with `initialize`) and 2026-07-28; it takes no other than it is told."""
_LIST: Final = ("--method", "tools/list")
# The argument is also in a header of modern HTTP, where what is not ASCII is encoded.
_CALL: Final = ("--method", "tools/call", "--tool-name", "test_x_mcp_header", "--tool-arg", "region=Zürich West")
_ANSWER: Final = "called for Zürich West"
# A tool that runs as a task or not at all; that it then fails is what it is there for.
_TASK: Final = ("--method", "tools/call", "--tool-name", "failing_job")
_OUTCOME: Final = "the job failed, as it always does"
_NOT_ALLOWED: Final = 3
"""The Inspector's exit code for 401."""
_LONGEST = 2000
_TIMEOUT = 120.0
_ENDING = 15.0
"""Seconds in which the bridge that the Inspector started is to end after it."""


@dataclass(frozen=True, slots=True)
class Way:
    """How the Inspector reaches the fleet: its flags, and a command or URL."""

    name: str
    flags: Sequence[str]
    target: Sequence[str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the Inspector wrote: a result on standard output, or an error on standard error."""

    code: int
    output: str
    errors: str
    seconds: float
    left_children: bool

    @property
    def result(self) -> dict[str, Any]:
        """Empty, unless it succeeded and printed JSON alone."""
        try:
            return json.loads(self.output)["result"] if self.code == 0 else {}
        except (ValueError, KeyError, TypeError):
            return {}

    def __str__(self) -> str:
        children = ", processes left behind" if self.left_children else ""
        return f"exit code {self.code}{children}\n{self.output[:_LONGEST]}{self.errors[-_LONGEST:]}".rstrip()


class Inspector:
    """`mcp-inspector --cli`, each time a process of its own; what it writes is kept in the directory.

    Attributes:
        good: whether every check so far has come out well.
    """

    def __init__(self, command: Sequence[str], directory: Path) -> None:
        self._command, self._directory = command, directory
        self._numbers = itertools.count(1)
        self.good = True

    def lists(self, way: Way, era: str, tools: Sequence[str]) -> None:
        """Check that it prints these tools."""
        answer = self._ask(way, era, _LIST)
        names = [tool["name"] for tool in answer.result.get("tools", ())]
        self._report(f"{way.name}, {era}: tools/list, {len(names)} of {len(tools)} tools", names == tools, answer)

    def calls(self, way: Way, era: str) -> None:
        """Check that it prints what the tool answers."""
        answer = self._ask(way, era, _CALL)
        right = answer.result.get("content") == [{"type": "text", "text": _ANSWER}]
        self._report(f"{way.name}, {era}: tools/call, {_ANSWER!r}", right, answer)

    def waits_for_a_task(self, way: Way, era: str) -> None:
        """Check that it gets the result of a task."""
        answer = self._ask(way, era, _TASK)
        self._report(f"{way.name}, {era}: a task, {_OUTCOME!r}", _OUTCOME in answer.output, answer)

    def is_refused(self, way: Way, era: str) -> None:
        """Check that the bridge lets nobody in this way."""
        answer = self._ask(way, era, _CALL)
        right = answer.code == _NOT_ALLOWED and "auth_required" in answer.errors and not answer.output
        self._report(f"{way.name}, {era}: refused", right, answer)

    def _ask(self, way: Way, era: str, request: Sequence[str]) -> Answer:
        log = self._directory / f"inspector{next(self._numbers)}.json"
        errors = log.with_suffix(".err")
        # Without `--`, it takes the options of the command for its own; the bridge's --server is one of both.
        flags = ["--format", "json", "--protocol-era", era, "--connect-timeout", "60000", "--stored-auth-only"]
        argv = [*self._command, *flags, *request, *way.flags, "--", *way.target]
        # It keeps a directory in the home directory, and asks for the keychain.
        env = {"HOME": str(self._directory), "MCP_INSPECTOR_SECRET_STORE": "memory"}
        started = time.monotonic()
        with Process(argv, log, env, errors) as process:
            code, seconds = process.wait(_TIMEOUT), time.monotonic() - started
            left_children = process.leaves_children(_ENDING)
        return Answer(code, process.output(), errors.read_text(errors="replace"), seconds, left_children)

    def _report(self, what: str, right: bool, answer: Answer) -> None:
        if right and not answer.left_children:
            terminal.say(f"✓ {what} ({answer.seconds:.1f} s)")
        else:
            self.good = False
            terminal.say(f"✗ {what}: {answer}")


def main(
    output: Annotated[Path | None, typer.Option("--output", help="Keep here what all processes write.")] = None,
) -> None:
    """Have the MCP Inspector list and call tools of a fleet. Exit code 1: a check failed; 2: it could not be run."""
    with terminal.exit_codes(), ExitStack() as stack:
        command = installed(terminal.say).inspector
        where = output or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="inspector-")))
        where.mkdir(parents=True, exist_ok=True)
        env = stack.enter_context(workers(Places(where, workers=1)))
        token = secrets.token_hex(16)
        url = stack.enter_context(bridge(where / "bridge.log", env))
        guarded = stack.enter_context(bridge(where / "guarded.log", {**env, "ASYNCMCP_BRIDGE_TOKEN": token}))
        ways = [
            _stdio(env),
            Way("http", ["--transport", "http"], [url]),
            Way("http with token", ["--transport", "http", "--header", f"Authorization: Bearer {token}"], [guarded]),
        ]
        tools = [*(tool.name for tool in anyio.run(make_server().list_tools)), *task_tools.NAMES]
        inspector = Inspector(command, where)
        for way, era in itertools.product(ways, _ERAS):
            # It knows the Tasks extension, which is of the modern era; else two more tools stand in for it.
            inspector.lists(way, era, tools if era == "modern" else [*tools, *COMPANIONS])
            inspector.calls(way, era)
            if era == "modern":
                inspector.waits_for_a_task(way, era)
        for era in _ERAS:
            inspector.is_refused(Way("http without token", ["--transport", "http"], [guarded]), era)
    raise typer.Exit(0 if inspector.good else 1)


def _stdio(env: Mapping[str, str]) -> Way:
    """The Inspector starts the bridge, and passes on what it is told to."""
    variables = [part for key, value in env.items() for part in ("-e", f"{key}={value}")]
    command = Path(sysconfig.get_path("scripts")) / "asyncmcp-kombu"
    return Way("stdio", variables, [str(command), "bridge", "--stdio", "--server", NAME])


if __name__ == "__main__":
    typer.run(main)
