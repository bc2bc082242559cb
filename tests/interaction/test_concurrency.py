"""Many at once: every caller gets its own answers, whatever ids and tokens the others use."""

from __future__ import annotations

import anyio
import pytest

from tests.interaction.connect import SOON, Connect
from tests.interaction.heard import Progress
from tests.interaction.spec import requirement, runs_on

pytestmark = pytest.mark.anyio

OTHER_MAILBOX = 1_000_000


@requirement("2026-07-28/basic/index#responses", "A response MUST include the same ID as its request.")
async def test_calls_at_the_same_time_each_get_their_own_answer(connect: Connect) -> None:
    answers: dict[int, object] = {}
    async with connect() as client:

        async def call(n: int) -> None:
            answers[n] = (await client.call_tool("add", {"a": n, "b": 1})).structured_content

        with anyio.fail_after(SOON):
            async with anyio.create_task_group() as tasks:
                for n in range(24):
                    tasks.start_soon(call, n)
    assert answers == {n: {"result": n + 1} for n in range(24)}


@requirement("DESIGN section 3", "One process shares one reply inbox among all of its sessions.")
@pytest.mark.parametrize("max_message_bytes", [None, OTHER_MAILBOX], ids=["one mailbox", "two mailboxes"])
async def test_two_clients_with_equal_request_ids_see_only_their_own_answers_and_progress(
    connect: Connect, max_message_bytes: int | None
) -> None:
    heard: dict[int, Progress] = {}
    async with connect() as one, connect(max_message_bytes=max_message_bytes) as two:

        async def call(n: int) -> None:
            client, heard[n] = (one, two)[n % 2], Progress()
            result = await client.call_tool("progress", {"steps": n + 1}, progress_callback=heard[n])
            assert result.structured_content == {"result": "done"}

        with anyio.fail_after(SOON):
            async with anyio.create_task_group() as tasks:
                for n in range(8):  # both count their requests from the same number
                    tasks.start_soon(call, n)
        assert {n: one.steps for n, one in heard.items()} == {n: list(range(1, n + 2)) for n in range(8)}


@requirement("DESIGN section 1", "The same fleet serves many clients.")
@runs_on("the SDK's own transport has a server for each client", hosts=("single", "fleet"))
async def test_clients_that_come_and_go_disturb_nobody(connect: Connect) -> None:
    answers: list[object] = []

    async def use(n: int) -> None:
        async with connect() as client:
            answers.append((await client.call_tool("echo", {"text": f"{n}"})).structured_content)

    async with connect() as stays:
        with anyio.fail_after(SOON):
            async with anyio.create_task_group() as tasks:
                for n in range(6):
                    tasks.start_soon(use, n)
                    await stays.call_tool("echo", {"text": "still here"})
    assert sorted(map(str, answers)) == sorted(str({"result": f"{n}"}) for n in range(6))
