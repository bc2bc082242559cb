"""`asyncmcp-kombu serve`: a server object from the shell, and what goes wrong on the way."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from tests import services
from tests.cli.test_commands import COMMAND, cli

SERVER = '''
from mcp.server.mcpserver import MCPServer

server = MCPServer("workers")

@server.tool()
def shout(text: str) -> str:
    """Say it louder."""
    return text.upper()

nothing = 1
'''


@pytest.fixture
def env(tmp_path: Path) -> Generator[dict[str, str]]:
    (tmp_path / "notes.py").write_text(SERVER)
    url, prefix = services.redis_url(), services.new_prefix()
    yield {"ASYNCMCP_BROKER_URL": url, "ASYNCMCP_PREFIX": prefix, "XDG_STATE_HOME": str(tmp_path)}
    services.cleanup_queues(url, prefix)


@pytest.mark.parametrize("stop", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.exhaustive)])
def test_it_serves_until_it_is_stopped_and_leaves_nothing(env: dict[str, str], tmp_path: Path, stop: int):
    process = subprocess.Popen(
        [*COMMAND, "serve", "notes.py:server"],
        cwd=tmp_path, env={**os.environ, **env}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        assert any("Ctrl-C stops" in line for line in process.stderr)
        called = cli("call", "shout", '{"text": "hi"}', env=env)
        assert (called.returncode, called.stdout.strip()) == (0, "HI"), called.stderr
        process.send_signal(stop)
        assert process.wait(10) == 130
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("notes", "MODULE:NAME is expected"),
        ("nope:server", "no module 'nope'"),
        ("notes:nope", "has no 'nope'"),
        ("notes:nothing", "expected mcp.server.MCPServer"),
    ],
)
def test_a_wrong_target_is_explained_in_one_line(env: dict[str, str], tmp_path: Path, target: str, said: str):
    done = subprocess.run(
        [*COMMAND, "serve", target],
        cwd=tmp_path, env={**os.environ, **env, "COLUMNS": "300"}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_broker_it_says_so(env: dict[str, str], tmp_path: Path):
    url = f"redis://127.0.0.1:{services.free_port()}/0"
    done = subprocess.run(
        [*COMMAND, "serve", "notes:server", "--broker-url", url],
        cwd=tmp_path, env={**os.environ, **env}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 3
    assert "unreachable" in done.stderr
    assert "Traceback" not in done.stderr
