"""A server's lifespan: entered once in each process, and what it gives reaches every handler there."""

from __future__ import annotations

import anyio
import pytest

from tests.interaction.connect import SOON, Connect
from tests.interaction.servers import LOWLEVEL, MCPSERVER
from tests.interaction.spec import requirement, runs_on

pytestmark = pytest.mark.anyio


@requirement("docs/serve.md", "The lifespan is entered once, around everything.")
@requirement("DESIGN section 3", "One long-lived event loop per process, the server's lifespan entered once.")
@runs_on("the SDK's own transport enters it for each client", hosts=("single", "fleet"))
@pytest.mark.parametrize("server", [MCPSERVER, LOWLEVEL])
async def test_the_lifespan_is_entered_once_per_process(connect: Connect, server: str) -> None:
    answers: list[dict[str, int]] = []
    async with connect(server) as client:

        async def ask() -> None:
            answers.append((await client.call_tool("process", {})).structured_content or {})

        with anyio.fail_after(SOON):
            async with anyio.create_task_group() as tasks:
                for _ in range(8):
                    tasks.start_soon(ask)
    assert len(answers) == 8
    assert {answer["entered"] for answer in answers} == {1}
