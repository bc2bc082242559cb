"""The command line of the bridge: what it refuses, what it says, how it ends."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from typer.testing import CliRunner, Result

from asyncmcp_kombu import Settings
from asyncmcp_kombu.cli.main import app
from tests import services
from tests.bridge.command import command, run
from tests.bridge.far import served
from tests.bridge.http import ENDING, SOON, headers, request

pytestmark = pytest.mark.anyio

TOKEN = "only-for-this-test"


def in_this_process(*args: str, env: dict[str, str] | None = None) -> Result:
    """For what is refused before anything is done, or only shown."""
    return CliRunner().invoke(app, ["bridge", *args], env={"COLUMNS": "200", "NO_COLOR": "1", **(env or {})})


@pytest.mark.parametrize(
    ("args", "word"),
    [
        ((), "either --stdio or --http PORT"),
        (("--stdio", "--http", "0"), "either --stdio or --http PORT"),
        (("--http", "65536"), "--http"),
        (("--http", "x"), "--http"),
        (("--http", "0", "--host", "0.0.0.0"), "ASYNCMCP_BRIDGE_TOKEN"),
        (("--http", "0", "--host", "example.org"), "ASYNCMCP_BRIDGE_TOKEN"),
        (("--http", "0", "--path", "mcp"), "slash"),
        (("--http", "0", "--token-file", "/no/such/file"), "/no/such/file"),
        (("--stdio", "--token-file", "/no/such/file"), "--http"),
        (("--stdio", "--allowed-host", "example.org"), "--http"),
        (("--stdio", "--timeout", "0"), "0"),
        (("--stdio", "--broker-url", "kafka://x"), "kafka"),
        (("--http", "0", "--server", "no spaces"), "no spaces"),
        (("--stdio", "surplus"), "surplus"),
        (("--token", "secret"), "--token"),
    ],
)
def test_a_wrong_command_line_exits_with_2_and_says_what_is_wrong(args: tuple[str, ...], word: str) -> None:
    done = in_this_process(*args)
    assert done.exit_code == 2, done.stderr
    assert word in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("text", ["", "  \n", "two words"])
def test_a_token_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(text)
    done = in_this_process("--http", "0", "--token-file", str(tmp_path / "token"))
    assert done.exit_code == 2, done.stderr
    assert "holds no token" in done.stderr
    assert in_this_process("--http", "0", env={"ASYNCMCP_BRIDGE_TOKEN": text}).exit_code == 2


def test_a_taken_port_exits_with_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = in_this_process("--http", str(taken.getsockname()[1]))
    assert done.exit_code == 2
    assert "cannot listen" in done.stderr


@pytest.mark.parametrize("way", [("--stdio",), ("--http", "0")], ids=lambda way: way[0])
def test_no_broker_exits_with_3_and_one_clear_line(way: tuple[str, ...]) -> None:
    url = f"redis://user:s3cret@127.0.0.1:{services.free_port()}"
    done = run(*way, env={"ASYNCMCP_BROKER_URL": url})
    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert "ASYNCMCP_BROKER_URL" in line
    assert "s3cret" not in line


def test_help_teaches() -> None:
    shown = in_this_process("--help")
    assert shown.exit_code == 0
    for word in ("--stdio", "--http", "--token-file", "ASYNCMCP_BRIDGE_TOKEN", "Inspector"):
        assert word in shown.stdout


@pytest.mark.parametrize("end", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.exhaustive)], ids=str)
async def test_http_serves_and_ends_cleanly(shared: Settings, end: signal.Signals) -> None:
    async with served(shared) as far, command(shared, "--http", "0", "--path", "/here") as bridge:
        url = await _url(bridge.says)
        assert url.endswith("/here")
        async with Client(url, read_timeout_seconds=SOON) as client:
            assert (await client.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                async with httpx2.AsyncClient(timeout=SOON) as plain:
                    call = request("tools/call", {"name": "waits"})
                    answer = (await plain.post(url, json=call, headers=headers(call))).json()
                assert "stopped" in answer["error"]["message"]

            tasks.start_soon(wait)
            with anyio.fail_after(SOON):
                await far.started.wait()
            began = time.monotonic()
            bridge.signal(end)
            assert await bridge.ended() == 0
            assert time.monotonic() - began < ENDING
        with anyio.fail_after(SOON):
            await far.cancelled.wait()
        out, err = await bridge.rest()
        assert (out, err) == ("", "")
    names = services.queues_on(shared.broker_url.get_secret_value(), [shared.prefix])
    assert not [name for name in names if "-reply-" in name]


async def test_a_token_from_the_environment_or_a_file(redis: Settings, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    from_file = command(redis, "--http", "0", "--token-file", str(tmp_path / "token"))
    from_env = command(redis, "--http", "0", ASYNCMCP_BRIDGE_TOKEN=TOKEN)
    async with served(redis):
        for one in (from_file, from_env):
            async with one as bridge:
                url = await _url(bridge.says)
                call = request("tools/list")
                async with httpx2.AsyncClient(timeout=SOON) as plain:
                    assert (await plain.post(url, json=call, headers=headers(call))).status_code == 401
                async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=SOON) as known:
                    transport = streamable_http_client(url, http_client=known)
                    async with Client(transport, read_timeout_seconds=SOON) as client:
                        assert (await client.list_tools()).tools
                bridge.signal(signal.SIGTERM)
                assert await bridge.ended() == 0
                assert TOKEN not in "".join(await bridge.rest())


async def _url(says: Callable[[], Awaitable[str]]) -> str:
    line = await says()
    found = re.search(r"http://\S+?(?=\. )", line)
    assert found, line
    return found[0]
