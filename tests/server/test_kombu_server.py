"""kombu_server: the SDK's `server.run(read, write)` over a queue, for many clients on one connection."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitResult, ToolListChangedNotification
from pydantic import BaseModel

from asyncmcp_kombu import Settings, kombu_client, kombu_server
from asyncmcp_kombu.errors import BrokerUnreachable, ConfigurationError
from asyncmcp_kombu.server.lowlevel import lowlevel_of

pytestmark = pytest.mark.anyio

SOON = 15.0


class Name(BaseModel):
    name: str


class Notes:
    """A server, and what happened in it."""

    def __init__(self) -> None:
        self.server = MCPServer("notes")
        self.started, self.cancelled, self.go = anyio.Event(), anyio.Event(), anyio.Event()

        @self.server.tool()
        async def slow_echo(text: str, ctx: Context) -> str:
            """Say it once everybody is here."""
            await ctx.report_progress(1, 2, text)
            await self.go.wait()
            await ctx.report_progress(2, 2, text)
            return text

        @self.server.tool()
        async def waits() -> str:
            """Wait until cancelled."""
            self.started.set()
            try:
                await anyio.sleep(60)
            except anyio.get_cancelled_exc_class():
                self.cancelled.set()
                raise
            return "never"

        @self.server.tool()
        async def asks(ctx: Context) -> str:
            """Ask who it is."""
            answer = await ctx.elicit("who?", Name)
            return str(answer.data)

        @self.server.tool()
        async def tells(ctx: Context) -> str:
            """Tell whoever listens."""
            await ctx.notify_tools_changed()
            await ctx.request_context.session.send_notification(ToolListChangedNotification())
            return "told"

    @asynccontextmanager
    async def running(self, settings: Settings) -> AsyncGenerator[None]:
        async with anyio.create_task_group() as tasks:
            await tasks.start(run, lowlevel_of(self.server), settings)
            yield
            tasks.cancel_scope.cancel()


async def run(server: Server[Any], settings: Settings, *, task_status: Any) -> None:
    async with kombu_server(name="notes", settings=settings) as (read, write):
        task_status.started()
        await server.run(read, write, server.create_initialization_options())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_two_clients_with_equal_request_ids_and_progress_tokens_are_kept_apart(settings: Settings, mode: str):
    notes = Notes()
    answers: dict[str, Any] = {}
    heard: dict[str, list[str | None]] = {"one": [], "two": []}

    async def call(client: Client, text: str) -> None:
        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            heard[text].append(message)
            if len(heard["one"]) and len(heard["two"]):
                notes.go.set()

        result = await client.call_tool("slow_echo", {"text": text}, progress_callback=on_progress)
        answers[text] = result.structured_content

    async with notes.running(settings):
        async with (
            Client(kombu_client(settings=settings), mode=mode) as one,
            Client(kombu_client(settings=settings), mode=mode) as two,
        ):
            with anyio.fail_after(SOON):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(call, one, "one")
                    tasks.start_soon(call, two, "two")
    assert answers == {"one": {"result": "one"}, "two": {"result": "two"}}
    assert heard == {"one": ["one"] * 2, "two": ["two"] * 2}


async def test_a_question_is_answered_by_the_client_that_was_asked(settings: Settings):
    def named(name: str) -> Any:
        async def elicit(context: Any, params: Any) -> ElicitResult:
            return ElicitResult(action="accept", content={"name": name})

        return elicit

    notes = Notes()
    async with notes.running(settings):
        async with (
            Client(kombu_client(settings=settings), mode="legacy", elicitation_callback=named("Ada")) as one,
            Client(kombu_client(settings=settings), mode="legacy", elicitation_callback=named("Bob")) as two,
        ):
            with anyio.fail_after(SOON):
                results = [await client.call_tool("asks", {}) for client in (one, two, one)]
    assert [result.structured_content for result in results] == [
        {"result": "name='Ada'"},
        {"result": "name='Bob'"},
        {"result": "name='Ada'"},
    ]


async def test_a_cancelled_call_is_cancelled_in_the_tool_and_not_answered(settings: Settings):
    notes = Notes()
    async with notes.running(settings), Client(kombu_client(settings=settings)) as client:
        with anyio.fail_after(SOON):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.call_tool, "waits", {})
                await notes.started.wait()
                tasks.cancel_scope.cancel()
            await notes.cancelled.wait()
            notes.go.set()
            result = await client.call_tool("slow_echo", {"text": "on"})
    assert result.structured_content == {"result": "on"}


async def test_what_ends_unanswered_is_served_by_the_next_process(settings: Settings):
    first, second = Notes(), Notes()
    second.go.set()
    answers: list[Any] = []

    async def call(client: Client) -> None:
        answers.append(await client.call_tool("slow_echo", {"text": "still here"}))

    async with Client(kombu_client(settings=settings), mode="2026-07-28") as client:
        with anyio.fail_after(SOON):
            async with anyio.create_task_group() as tasks:
                async with first.running(settings):
                    tasks.start_soon(call, client)
                    tasks.start_soon(client.call_tool, "waits", {})
                    await first.started.wait()
                async with second.running(settings):
                    await second.started.wait()
                    while not answers:
                        await anyio.sleep(0.01)
                    tasks.cancel_scope.cancel()
    assert answers[0].structured_content == {"result": "still here"}


async def test_a_subscription_hears_what_the_process_publishes(settings: Settings):
    notes = Notes()
    async with notes.running(settings), Client(kombu_client(settings=settings)) as client:
        with anyio.fail_after(SOON):
            async with client.listen(tools_list_changed=True) as events:
                await client.call_tool("tells", {})
                assert type(await anext(events)).__name__ == "ToolsListChanged"


async def test_every_client_of_a_handshake_gets_what_belongs_to_no_request(settings: Settings):
    notes, heard = Notes(), [anyio.Event(), anyio.Event()]

    def hears(event: anyio.Event) -> Any:
        async def handler(message: Any) -> None:
            event.set()

        return handler

    async with notes.running(settings):
        async with (
            Client(kombu_client(settings=settings), mode="legacy", message_handler=hears(heard[0])) as one,
            Client(kombu_client(settings=settings), mode="legacy", message_handler=hears(heard[1])),
        ):
            with anyio.fail_after(SOON):
                await one.call_tool("tells", {})
                for event in heard:
                    await event.wait()


async def test_a_client_of_the_other_era_gets_an_error(settings: Settings):
    notes = Notes()
    async with notes.running(settings), Client(kombu_client(settings=settings), mode="2026-07-28") as client:
        await client.list_tools()
        other = Client(kombu_client(settings=settings), mode="legacy")
        with pytest.raises(BaseExceptionGroup) as caught:
            await other.__aenter__()
    (refusal,) = flattened(caught.value)
    assert isinstance(refusal, MCPError)
    assert refusal.error.code == -32022


def flattened(error: BaseException) -> list[BaseException]:
    return (
        [one for inner in error.exceptions for one in flattened(inner)]
        if isinstance(error, BaseExceptionGroup)
        else [error]
    )


async def test_a_wrong_url_is_refused_at_once_and_a_broker_that_is_away_on_entering():
    with pytest.raises(ConfigurationError, match="ftp"):
        kombu_server("ftp://nowhere", name="notes")
    with pytest.raises(BrokerUnreachable):
        async with kombu_server("redis://127.0.0.1:1/0", name="notes"):
            pass
