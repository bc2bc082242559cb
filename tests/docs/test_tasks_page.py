"""docs/tasks.md: its tools, its client and its shell commands, as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.docs.test_examples import ROOT, code_of
from tests.fleet.native import worker_process
from tests.services import cleanup_queues, new_prefix

TOOLS, CLIENT = code_of("docs/tasks.md")


@pytest.fixture(scope="module")
def env(sqs_url: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, str]]:
    """A worker that serves the page's tools."""
    directory, prefix = tmp_path_factory.mktemp("tasks-page"), new_prefix()
    (directory / "studio.py").write_text(TOOLS)
    (directory / "client.py").write_text(CLIENT)
    env = {
        "ASYNCMCP_BROKER_URL": sqs_url,
        "ASYNCMCP_PREFIX": prefix,
        "PYTHONPATH": str(directory),
        "XDG_STATE_HOME": str(directory),
    }
    worker = worker_process("studio", env, name=prefix, concurrency=2)
    try:
        worker.ready()
        yield env
    finally:
        worker.teardown()
        cleanup_queues(sqs_url, prefix)


def test_the_client_of_the_page(env: dict[str, str]) -> None:
    done = run(env, sys.executable, str(Path(env["PYTHONPATH"]) / "client.py"))
    for text in ("{'result': 'found tea'}", "{'result': 'deleted Ran'}", "{'result': '50 frames'}", "input_required"):
        assert text in done.stdout, done.stdout + done.stderr


def test_the_shell_of_the_page(env: dict[str, str]) -> None:
    (lines,) = re.findall(r"```\n(ID=.*?)```", (ROOT / "docs/tasks.md").read_text(), re.S)
    script = lines.replace("asyncmcp-kombu", f"{sys.executable} -m asyncmcp_kombu.cli.main").replace("5000", "500")
    start, watch, cancel = script.splitlines()
    done = run(env, "sh", "-c", f"{start}\n{watch}")
    assert done.stdout.strip() == "500 frames", done.stderr
    done = run(env, "sh", "-c", f"{start.replace('500', '50000')}\n{cancel}")
    assert done.stdout.strip() == "cancelled", done.stderr


def run(env: dict[str, str], *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, env={**os.environ, **env}, capture_output=True, text=True, timeout=90)
