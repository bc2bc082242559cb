"""Relay: order, silence, questions, and callers who do not read; with a caller whose pace the test decides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import pytest
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY

from asyncmcp_kombu.bridge.relay import MOST_WAITING, NothingHeard, Relay

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


class Caller:
    """Notes what reaches it; reads nothing until `reads` is set."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.reads = anyio.Event()
        self.reads.set()

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        await self.reads.wait()
        self.got.append((method, params))

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        self.got.append(method)
        await anyio.sleep(0.3)  # a person thinks
        return {"answer": 42}


def relay(caller: Caller, silence: float = 5.0) -> Relay:
    return Relay("r1", "theirs", caller, silence)


async def for_ever() -> dict[str, Any]:
    await anyio.sleep_forever()
    raise AssertionError


async def within(seconds: float, wait: Callable[[], Awaitable[Any]]) -> Any:
    with anyio.fail_after(seconds):
        return await wait()


async def test_everything_reaches_a_slow_caller_before_the_answer() -> None:
    caller = Caller()
    caller.reads = anyio.Event()
    one = relay(caller)

    async def ask() -> dict[str, Any]:
        for n in range(100):
            one.put("notifications/progress", {"n": n})
        return {"done": True}

    async with anyio.create_task_group() as tasks:

        async def read() -> None:
            await anyio.lowlevel.checkpoint()
            caller.reads.set()

        tasks.start_soon(read)
        assert await within(5, lambda: one.run(ask)) == {"done": True}
        assert [params["n"] for _, params in caller.got] == list(range(100))


async def test_what_comes_after_the_answer_is_dropped() -> None:
    caller = Caller()
    one = relay(caller)

    async def ask() -> dict[str, Any]:
        return {}

    await one.run(ask)
    one.put("notifications/progress", {})
    assert caller.got == []
    with pytest.raises(MCPError):
        await one.ask("elicitation/create", None)


async def test_an_error_is_raised_as_it_is_after_what_came_before_it() -> None:
    caller = Caller()
    one = relay(caller)

    async def ask() -> dict[str, Any]:
        one.put("notifications/message", None)
        raise MCPError(-32007, "no", [1])

    with pytest.raises(MCPError) as caught:
        await one.run(ask)
    assert (caught.value.code, caught.value.message, caught.value.data) == (-32007, "no", [1])
    assert caller.got == [("notifications/message", None)]


async def test_silence_is_counted_from_the_last_sign_of_life() -> None:
    caller = Caller()
    one = relay(caller, silence=0.4)
    cancelled = anyio.Event()

    async def ask() -> dict[str, Any]:
        try:
            for _ in range(3):
                await anyio.sleep(0.25)
                one.put("notifications/progress", None)
            return await for_ever()
        except anyio.get_cancelled_exc_class():
            cancelled.set()
            raise

    with pytest.raises(NothingHeard):
        await within(5, lambda: one.run(ask))
    assert len(caller.got) == 3
    assert cancelled.is_set()


async def test_a_question_waits_its_turn_and_stops_the_clock() -> None:
    caller = Caller()
    one = relay(caller, silence=0.15)

    async def ask() -> dict[str, Any]:
        one.put("notifications/progress", {"n": 1})
        answer = await one.ask("elicitation/create", {})
        one.put("notifications/progress", {"n": 2})
        return answer

    assert await within(5, lambda: one.run(ask)) == {"answer": 42}
    assert caller.got == [
        ("notifications/progress", {"n": 1}),
        "elicitation/create",
        ("notifications/progress", {"n": 2}),
    ]


async def test_a_caller_who_reads_nothing_costs_a_bounded_amount_and_loses_its_request() -> None:
    caller = Caller()
    caller.reads = anyio.Event()
    one = relay(caller)

    async def ask() -> dict[str, Any]:
        for _ in range(MOST_WAITING + 2):
            one.put("notifications/progress", None)
        return await for_ever()

    with pytest.raises(MCPError) as caught:
        await within(5, lambda: one.run(ask))
    assert "reads none" in caught.value.message


async def test_a_question_that_waits_behind_what_is_not_read_ends_with_its_request() -> None:
    caller = Caller()
    caller.reads = anyio.Event()
    one = relay(caller)
    ended = anyio.Event()

    async with anyio.create_task_group() as tasks:

        async def question() -> None:
            await one.ask("elicitation/create", None)
            ended.set()

        async def ask() -> dict[str, Any]:
            one.put("notifications/progress", None)
            tasks.start_soon(question)
            await anyio.wait_all_tasks_blocked()
            one.stop(MCPError(-32000, "stopped"))
            return await for_ever()

        with pytest.raises(MCPError, match="stopped"):
            await one.run(ask)
        with anyio.fail_after(5):
            await ended.wait()


async def test_stopping_ends_it_with_the_given_error_even_before_it_has_begun() -> None:
    one = relay(Caller())
    one.stop(MCPError(-32000, "stopped"))
    one.stop(MCPError(-32000, "again"))

    async def ask() -> dict[str, Any]:
        return await for_ever()

    with pytest.raises(MCPError, match="stopped"):
        await within(5, lambda: one.run(ask))


async def test_a_caller_who_leaves_cancels_the_request() -> None:
    left = anyio.Event()

    async def ask() -> dict[str, Any]:
        try:
            return await for_ever()
        except anyio.get_cancelled_exc_class():
            left.set()
            raise

    with anyio.move_on_after(0.1) as scope:
        await relay(Caller()).run(ask)
    assert scope.cancelled_caught
    assert left.is_set()


@pytest.mark.parametrize(("named", "shown"), [("r1", "theirs"), ("r2", "r2"), (None, None)])
async def test_a_subscription_is_named_by_the_callers_id(named: str | None, shown: str | None) -> None:
    caller = Caller()
    one = relay(caller)
    frame = {"_meta": {SUBSCRIPTION_ID_META_KEY: named, "other": None}, "uri": "x"}

    async def ask() -> dict[str, Any]:
        one.put("notifications/resources/updated", frame)
        return {"_meta": frame["_meta"]}

    answer = await one.run(ask)
    expected = {SUBSCRIPTION_ID_META_KEY: shown, "other": None}
    assert answer == {"_meta": expected}
    assert caller.got == [("notifications/resources/updated", {"_meta": expected, "uri": "x"})]
    assert frame["_meta"] == {SUBSCRIPTION_ID_META_KEY: named, "other": None}
