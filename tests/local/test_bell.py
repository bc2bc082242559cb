"""The sleeps of ministack's long polls: over when the bell rings, or when their time is."""

from __future__ import annotations

import asyncio

from asyncmcp_kombu.local.serve.ministack import Bell, rings


def test_a_sleeper_is_woken_by_an_answer_and_else_sleeps_its_time():
    async def answers(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start"})  # type: ignore[operator]

    async def main() -> None:
        bell, sent = Bell(), list[object]()

        async def send(message: object) -> None:
            sent.append(message)

        async def receive() -> dict[str, object]:
            return {}

        sleepers = [asyncio.create_task(bell.sleep(60)) for _ in range(3)]
        await bell.sleep(0.01)
        assert not any(sleeper.done() for sleeper in sleepers)
        await rings(answers, bell)({"type": "http"}, receive, send)
        await asyncio.wait_for(asyncio.gather(*sleepers), 5)
        assert sent == [{"type": "http.response.start"}]

    asyncio.run(main())
