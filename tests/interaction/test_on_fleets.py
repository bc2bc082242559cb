"""Every test of this directory once more, on Celery workers.

In one module of their own, because xdist (`--dist loadscope`) keeps a module in one process: there the workers of
each broker start once. They take seconds.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import anyio
import pytest

from tests.interaction.connect import SOON, Connect
from tests.interaction.spec import requirement, runs_on

pytestmark = pytest.mark.anyio

HOSTS = ("fleet",)

for _path in sorted(Path(__file__).parent.glob("test_*.py")):
    if _path.stem not in ("test_on_fleets", "test_spec"):
        _module = vars(import_module(f"tests.interaction.{_path.stem}"))
        globals().update({name: test for name, test in _module.items() if name.startswith("test_")})


@requirement("DESIGN section 2", "Any worker can serve any request.")
@runs_on("the memory broker reaches no other process", brokers=("sqs", "rabbitmq", "redis"))
async def test_requests_spread_over_the_workers(connect: Connect) -> None:
    pids: set[int] = set()
    async with connect() as client:

        async def ask() -> None:
            pids.add(((await client.call_tool("process", {})).structured_content or {})["pid"])

        with anyio.fail_after(SOON):
            while len(pids) < 3:  # of four processes, two in each worker
                async with anyio.create_task_group() as tasks:
                    for _ in range(16):
                        tasks.start_soon(ask)
