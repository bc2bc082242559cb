"""The command line as a person uses it: real processes, a running fleet, and everything that goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from importlib.metadata import version
from secrets import token_hex

import psutil
import pytest

from tests.fleet.conftest import Fleet, broker_urls, fleets  # noqa: F401  fixtures
from tests.fleet.starting import template
from tests.services import free_port

COMMAND = [sys.executable, "-m", "asyncmcp_kombu.cli.main"]


def cli(*args: str, env: dict[str, str] | None = None, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, to its end. Raises subprocess.TimeoutExpired."""
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **(env or {})}
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
        process = template.start(COMMAND[-1], args, environment, out.name, err.name)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        return subprocess.CompletedProcess(args, code, out.read(), err.read())


@pytest.fixture
def env(fleets: Callable[..., Fleet]) -> dict[str, str]:  # noqa: F811
    return {**fleets("sqs").env, "ASYNCMCP_SERVER": "testfleet"}


def test_version_is_that_of_the_package() -> None:
    assert cli("--version").stdout == f"asyncmcp-kombu {version('asyncmcp-kombu')}\n"


def test_tools_lists_names_arguments_and_descriptions(env: dict[str, str]) -> None:
    listed = cli("tools", env=env)
    assert listed.returncode == 0, listed.stderr
    line = next(line for line in listed.stdout.splitlines() if line.strip().startswith("add "))
    assert "a, b" in line
    assert "Add two numbers." in line


def test_tools_as_json_has_the_schemas(env: dict[str, str]) -> None:
    tools = {tool["name"]: tool for tool in json.loads(cli("tools", "--json", env=env).stdout)}
    assert tools["add"]["inputSchema"]["required"] == ["a", "b"]


def test_call_prints_the_result(env: dict[str, str]) -> None:
    called = cli("call", "add", '{"a": 1, "b": 2}', env=env)
    assert (called.returncode, called.stdout.strip()) == (0, "3"), called.stderr


def test_call_prints_structured_results_as_json(env: dict[str, str]) -> None:
    called = cli("call", "nested", '{"outer": {"inners": [{"n": 2}]}}', env=env)
    assert json.loads(called.stdout) == {"inners": [{"n": 4}]}


def test_call_works_for_a_tool_that_reports_progress(env: dict[str, str]) -> None:
    called = cli("call", "progress", '{"steps": 5}', env=env)
    assert (called.returncode, called.stdout.strip()) == (0, "done"), called.stderr


def test_a_failing_tool_exits_with_1_and_says_why(env: dict[str, str]) -> None:
    called = cli("call", "refuses", '{"text": "because"}', env=env)
    assert called.returncode == 1
    assert "because" in called.stderr
    assert "Traceback" not in called.stderr


def test_a_jsonrpc_error_exits_with_1_and_shows_its_code(env: dict[str, str]) -> None:
    called = cli("call", "protocol_error", env=env)
    assert called.returncode == 1
    assert "-32007" in called.stderr
    assert "not today" in called.stderr


@pytest.mark.parametrize("arguments", ["{a: 1}", "[1, 2]", "3"])
def test_wrong_json_exits_with_2_and_shows_what_is_expected(arguments: str) -> None:
    called = cli("call", "add", arguments)
    assert called.returncode == 2
    assert '{"a": 1, "b": 2}' in called.stderr


@pytest.mark.parametrize("args", [("no-such-command",), ("call",), ("tools", "--no-such-option")])
def test_wrong_usage_exits_with_2(args: tuple[str, ...]) -> None:
    assert cli(*args).returncode == 2


@pytest.mark.parametrize("scheme", ["sqs", "amqp", "redis"])
def test_no_broker_exits_with_3_at_once_and_shows_no_password(scheme: str) -> None:
    called = cli("tools", env={"ASYNCMCP_BROKER_URL": f"{scheme}://user:s3cret@127.0.0.1:{free_port()}"}, timeout=30)
    assert called.returncode == 3, called.stderr
    assert "s3cret" not in called.stderr + called.stdout
    assert "ASYNCMCP_BROKER_URL" in called.stderr
    assert "Traceback" not in called.stderr


def test_no_worker_exits_with_3_and_asks_whether_one_is_running(env: dict[str, str]) -> None:
    called = cli("tools", "--server", "echo", "--timeout", "1.5", env=env)
    assert called.returncode == 3
    assert "celery -A workers worker" in called.stderr
    assert "'echo'" in called.stderr


@pytest.mark.parametrize(
    ("env", "word"),
    [
        ({"ASYNCMCP_BROKER_URL": "kafka://localhost"}, "kafka"),
        ({"ASYNCMCP_WAIT_TIME": "60"}, "ASYNCMCP_WAIT_TIME"),
        ({"ASYNCMCP_SERVER": "no spaces"}, "no spaces"),
        ({"ASYNCMCP_SERVER": "x" * 70}, "80"),
    ],
)
def test_wrong_settings_exit_with_2_and_name_the_setting(env: dict[str, str], word: str) -> None:
    called = cli("tools", env=env)
    assert called.returncode == 2, called.stderr
    assert word in called.stderr
    assert "Traceback" not in called.stderr


@pytest.mark.parametrize("args", [("--help",), ("call", "--help"), ("local", "--help"), ("demo", "--help")])
def test_help_teaches(args: tuple[str, ...]) -> None:
    shown = cli(*args)
    assert shown.returncode == 0
    assert len(shown.stdout.splitlines()) > 8


def test_the_demo_runs_and_leaves_nothing_running() -> None:
    mark = {"DEMO_MARK": token_hex(8)}
    done = cli("demo", env=mark, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    for text in ('{"result": 42}', "progress: step 4 of 4", "price_order", "Done in"):
        assert text in done.stdout
    assert not [
        process for process in psutil.process_iter() if _environment(process).get("DEMO_MARK") == mark["DEMO_MARK"]
    ]


def test_the_demo_can_be_interrupted() -> None:
    process = subprocess.Popen(
        [*COMMAND, "demo"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    assert process.stdout is not None
    lines: list[str] = []
    started = threading.Event()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line.startswith("2."):
                started.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert started.wait(30)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130, lines
    reader.join(10)
    _, alive = psutil.wait_procs(family, timeout=5)
    assert not alive


def test_the_demo_without_its_app_says_what_to_do() -> None:
    done = cli("demo", "--app", "no_such_app")
    assert done.returncode == 2
    assert "--app" in done.stderr


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}
