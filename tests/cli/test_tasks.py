"""Tasks from a shell: `call --task`, `watch`, `cancel`, with real processes, a running fleet, and a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_commands import COMMAND, cli
from tests.fleet.conftest import Fleet, fleets  # noqa: F401  fixtures
from tests.tasks.conftest import (  # noqa: F401  fixtures
    SHORT_LEASE,
    NewFleet,
    TaskFleet,
    broker_urls,
    new_fleet,
    shared_fleets,
)

SOON = 60.0
Env = dict[str, str]


def env_of(fleet: Fleet) -> Env:
    return {**fleet.env, "ASYNCMCP_SERVER": "testfleet"}


@pytest.fixture
def env(shared_fleets: Callable[[str], TaskFleet]) -> Env:  # noqa: F811
    return env_of(shared_fleets("sqs-sqlite"))


def started(env: Env, tool: str, **arguments: Any) -> str:
    """The id that `ID=$(asyncmcp-kombu call … --task)` gets."""
    called = cli("call", tool, json.dumps(arguments), "--task", env=env)
    assert called.returncode == 0, called.stderr
    return called.stdout.strip()


class Shell:
    """A command with pipes, of which the test reads what it says while it runs."""

    def __init__(self, env: Env, *args: str) -> None:
        environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **env}
        self.process = subprocess.Popen(
            [*COMMAND, *args], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self.process.stderr is not None
        self._fd, self.said = self.process.stderr.fileno(), ""

    def wait_for(self, text: str) -> None:
        _read_until(self._fd, self, text)

    def ends(self) -> tuple[int, str]:
        out, err = self.process.communicate(timeout=SOON)
        self.said += err.decode()
        return self.process.returncode, out.decode().strip()


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, env: Env, *args: str) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execve(COMMAND[0], [*COMMAND, *args], {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **env})
        self.said = ""

    def wait_for(self, text: str) -> None:
        _read_until(self._fd, self, text)

    def enter(self, text: str) -> None:
        self.said = ""
        os.write(self._fd, text.encode())

    def ends(self) -> int:
        """Its exit code; what it said last is in `said`."""
        with contextlib.suppress(EOFError):
            _read_until(self._fd, self, None)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _read_until(fd: int, into: Shell | Terminal, text: str | None) -> None:
    give_up_at = time.monotonic() + SOON
    while text is None or text not in into.said:
        readable, _, _ = select.select([fd], [], [], max(0, give_up_at - time.monotonic()))
        assert readable, f"{text!r} did not come; this did: {into.said}"
        try:
            part = os.read(fd, 4096).decode(errors="replace")
        except OSError:  # Linux: the other end of a terminal is closed
            part = ""
        if not part:
            raise EOFError(into.said)
        into.said += part


@pytest.fixture
def terminal() -> Generator[Callable[..., Terminal]]:
    made: list[Terminal] = []

    def open_terminal(env: Env, *args: str) -> Terminal:
        made.append(Terminal(env, *args))
        return made[-1]

    yield open_terminal
    for one in made:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(one.pid, signal.SIGKILL)
            os.waitpid(one.pid, 0)


def test_a_task_is_started_and_watched_by_its_id_alone(env: Env) -> None:
    called = cli("call", "steps", '{"steps": 3, "pause": 0.5}', "--task", env=env)
    (task_id,) = called.stdout.split()
    assert called.returncode == 0
    assert f"asyncmcp-kombu watch {task_id}" in called.stderr
    watched = cli("watch", task_id, env=env)
    assert (watched.returncode, watched.stdout.strip()) == (0, "done"), watched.stderr
    again = json.loads(cli("watch", task_id, "--json", env=env).stdout)
    assert again["structuredContent"] == {"result": "done"}


def test_the_handle_as_json(env: Env) -> None:
    called = cli("call", "double", '{"n": 4}', "--task", "--json", env=env)
    assert json.loads(called.stdout)["taskId"] in called.stderr


def test_what_is_to_be_copied_names_the_server_that_was_given(env: Env) -> None:
    called = cli("call", "double", '{"n": 4}', "--task", "--server", "testfleet", env=env)
    assert f"watch {called.stdout.strip()} --server testfleet" in called.stderr


def test_call_waits_through_a_task(env: Env) -> None:
    called = cli("call", "steps", '{"steps": 2, "pause": 1}', env=env)
    assert (called.returncode, called.stdout.strip()) == (0, "done"), called.stderr


def test_call_says_where_a_task_goes_on_that_takes_longer_than_was_to_be_waited(env: Env) -> None:
    called = cli("call", "steps", '{"steps": 60, "pause": 1}', "--timeout", "8", env=env)
    assert called.returncode == 1
    task_id = called.stderr.rpartition("asyncmcp-kombu watch ")[2].split()[0]
    assert cli("cancel", task_id, env=env).stdout.strip() == "cancelled"


def test_the_commands_see_no_companions(env: Env) -> None:
    listed = cli("tools", env=env).stdout
    assert "double" in listed
    assert "task_result" not in listed


def test_a_tool_that_makes_no_task_gives_no_id_but_its_answer_is_not_lost(env: Env) -> None:
    called = cli("call", "never", '{"n": 41}', "--task", env=env)
    assert (called.returncode, called.stdout) == (1, "")
    assert "42" in called.stderr
    assert "there is no task" in called.stderr


@pytest.mark.parametrize("command", ["watch", pytest.param("cancel", marks=pytest.mark.exhaustive)])
def test_an_unknown_id_is_an_error_in_one_line(env: Env, command: str) -> None:
    asked = cli(command, "no-such-task", env=env)
    assert (asked.returncode, asked.stdout) == (1, "")
    assert "-32602" in asked.stderr
    assert len(asked.stderr.strip().splitlines()) == 1, asked.stderr


@pytest.mark.parametrize("command", ["watch", pytest.param("cancel", marks=pytest.mark.exhaustive)])
def test_a_server_without_tasks_says_so(fleets: Callable[..., Fleet], command: str) -> None:  # noqa: F811
    asked = cli(command, "some-task", env=env_of(fleets("sqs")))
    assert asked.returncode == 1
    assert "makes no tasks" in asked.stderr


@pytest.mark.parametrize("command", ["watch", pytest.param("cancel", marks=pytest.mark.exhaustive)])
def test_an_empty_id_as_of_a_call_that_failed_is_a_wrong_command_line(command: str) -> None:
    asked = cli(command, "")
    assert asked.returncode == 2
    assert "--task" in asked.stderr


@pytest.mark.parametrize(
    "args", [("watch",), ("cancel",), ("call", "steps", "{", "--task"), ("watch", "x", "--timeout", "soon")]
)
def test_wrong_usage_exits_with_2(args: tuple[str, ...]) -> None:
    assert cli(*args).returncode == 2


@pytest.mark.parametrize("command", ["watch", pytest.param("cancel", marks=pytest.mark.exhaustive)])
def test_no_worker_exits_with_3(env: Env, command: str) -> None:
    asked = cli(command, "x", "--server", "nobody", "--timeout", "1.5", env=env)
    assert asked.returncode == 3
    assert "'nobody'" in asked.stderr


@pytest.mark.parametrize("args", [("watch", "--help"), ("cancel", "--help")])
def test_help_teaches(args: tuple[str, ...]) -> None:
    shown = cli(*args)
    assert shown.returncode == 0
    assert "--task" in shown.stdout


def test_how_a_task_fails_is_told_as_call_tells_it(env: Env) -> None:
    for tool, says in (("boom", "boom"), ("protocol_error", "error -32050: no such thing")):
        watched = cli("watch", started(env, tool), env=env)
        assert (watched.returncode, watched.stdout) == (1, "")
        assert says in watched.stderr
        assert says in cli("call", tool, env=env).stderr
        assert "Traceback" not in watched.stderr


def test_a_cancelled_task_says_so_to_who_watches_and_one_that_has_ended_to_who_cancels(env: Env) -> None:
    task_id = started(env, "waits", mark="")
    watcher = Shell(env, "watch", task_id)
    cancelled = cli("cancel", task_id, env=env)
    assert (cancelled.returncode, cancelled.stdout.strip()) == (0, "cancelled")
    assert watcher.ends() == (1, "")
    assert "cancelled" in watcher.said
    ended = started(env, "double", n=1)
    assert cli("watch", ended, env=env).returncode == 0
    late = cli("cancel", ended, env=env)
    assert (late.returncode, late.stdout) == (1, "")
    assert "completed" in late.stderr


@pytest.mark.exhaustive
def test_who_watches_sees_the_task_through_the_death_of_its_worker(
    new_fleet: NewFleet,  # noqa: F811
    tmp_path: Path,
) -> None:
    fleet = new_fleet("sqs-sqlite", **SHORT_LEASE)
    fleet.start_worker(concurrency=2)
    env, go_on = env_of(fleet), tmp_path / "go on"
    watcher = Shell(env, "watch", started(env, "holds", go_on=str(go_on)))
    watcher.wait_for("working: holding")
    fleet.worker.kill()
    fleet.start_worker(concurrency=2)
    go_on.touch()
    assert watcher.ends() == (0, "done"), watcher.said


def test_ctrl_c_stops_watching_and_not_the_task(env: Env, tmp_path: Path) -> None:
    go_on = tmp_path / "go on"
    task_id = started(env, "holds", go_on=str(go_on))
    watcher = Shell(env, "watch", task_id)
    watcher.wait_for("working: holding")
    watcher.process.send_signal(signal.SIGINT)
    assert watcher.ends() == (130, "")
    assert f"asyncmcp-kombu watch {task_id}" in watcher.said
    assert "Traceback" not in watcher.said
    go_on.touch()
    assert cli("watch", task_id, env=env).stdout.strip() == "done"


def test_ctrl_c_in_call_cancels_the_task(env: Env) -> None:
    caller = Shell(env, "call", "steps", '{"steps": 60, "pause": 1}')
    caller.wait_for("working: step")
    caller.process.send_signal(signal.SIGINT)
    assert caller.ends() == (130, "")
    assert "Traceback" not in caller.said


def test_a_terminal_is_asked_what_the_task_asks(env: Env, terminal: Callable[..., Terminal]) -> None:
    shell = terminal(env, "watch", started(env, "asks"))
    for answer in ("Ada", "Lovelace"):
        shell.wait_for("name (string): ")
        shell.enter(f"{answer}\n")
    assert shell.ends() == 0
    assert "Ada Lovelace, asked once" in shell.said


def test_a_terminal_is_asked_before_there_is_a_task(env: Env, terminal: Callable[..., Terminal]) -> None:
    shell = terminal(env, "call", "resolved")
    shell.wait_for("Name (string): ")
    shell.enter("\n")
    shell.wait_for("an answer is needed")
    shell.enter("Ada\n")
    assert shell.ends() == 0
    assert "for Ada" in shell.said


def test_a_question_is_interrupted_by_ctrl_c(env: Env, terminal: Callable[..., Terminal]) -> None:
    shell = terminal(env, "watch", started(env, "asks"))
    shell.wait_for("name (string): ")
    shell.enter("\x03")
    assert shell.ends() == 130
    assert "goes on" in shell.said


def test_without_a_terminal_it_is_said_what_is_asked_and_another_terminal_answers(
    env: Env, terminal: Callable[..., Terminal]
) -> None:
    task_id = started(env, "asks")
    watcher = Shell(env, "watch", task_id)
    watcher.wait_for("first name?")
    watcher.wait_for(f"asyncmcp-kombu watch {task_id}")
    shell = terminal(env, "watch", task_id)
    for answer in ("Ada", "Lovelace"):
        shell.wait_for("name (string): ")
        shell.enter(f"{answer}\n")
    assert shell.ends() == 0
    assert watcher.ends() == (0, "Ada Lovelace, asked once")
