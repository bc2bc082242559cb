"""docs/durable-clients.md: its scripts, run as they stand, by processes of their own, on the embedded SQS and SNS."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from mcp.server.mcpserver import MCPServer
from pydantic import SecretStr

from asyncmcp_kombu import Settings, serve
from asyncmcp_kombu.topology import Topology
from tests.services import cleanup_queues, new_prefix

pytestmark = pytest.mark.anyio
PAGE = Path(__file__).parents[2] / "docs" / "durable-clients.md"
SOON = 30.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_the_scripts_of_the_page(sqs_url: str, tmp_path: Path) -> None:
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S):
        name = re.match(r"# (\w+\.py)\n", code)
        assert name is not None
        (tmp_path / name[1]).write_text(code)
    settings = Settings(broker_url=SecretStr(sqs_url), prefix=new_prefix(), server="billing", wait_time=1)
    short = {"ASYNCMCP_WAIT_TIME": "1", "ASYNCMCP_VISIBILITY_TIMEOUT": "3"}
    env = {**os.environ, **short, "ASYNCMCP_BROKER_URL": sqs_url, "ASYNCMCP_PREFIX": settings.prefix}
    server, started, go_on = MCPServer("billing"), anyio.Event(), anyio.Event()

    @server.tool()
    async def bill(month: str) -> str:
        """Make the bill of a month."""
        started.set()
        await go_on.wait()
        return f"billed {month}"

    def start(script: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, tmp_path / script], env=env, stdout=subprocess.PIPE, text=True)

    async def line_of(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        with anyio.fail_after(SOON):
            return (await anyio.to_thread.run_sync(process.stdout.readline, abandon_on_cancel=True)).strip()

    async def run(*, task_status: Any) -> None:
        await serve(server, settings=settings, task_status=task_status)

    processes: list[subprocess.Popen[str]] = []
    try:
        async with anyio.create_task_group() as tasks:
            await tasks.start(run)
            processes.append(monday := start("monday.py"))
            with anyio.fail_after(SOON):
                await started.wait()
            monday.kill()
            go_on.set()
            processes.append(tuesday := start("tuesday.py"))
            output, _ = await anyio.to_thread.run_sync(partial(tuesday.communicate, timeout=SOON))
            assert output.splitlines()[-1] == "{'result': 'billed 2026-11'}"
            processes.append(audit := start("audit.py"))
            assert await line_of(audit) == "listening"
            processes.append(host := start("host.py"))
            assert await line_of(audit) == "bill-2026-12 {'result': 'billed 2026-12'}"
            assert await line_of(host) == "{'result': 'billed 2026-12'}"
            await anyio.to_thread.run_sync(partial(host.wait, SOON))
            tasks.cancel_scope.cancel()
    finally:
        for process in processes:
            process.kill()
            process.communicate()
        left = cleanup_queues(sqs_url, settings.prefix, replies=True)
    topology = Topology("billing", settings.prefix)
    durable = {topology.durable_reply("billing-9f3c6a1e0d42"), topology.durable_audience("audit")}
    assert {name for name in left if "-reply-" in name and " -> " not in name} == durable
