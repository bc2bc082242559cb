"""An MCP client transport over a queue, on asyncio and on trio, against a responder in threads."""

from __future__ import annotations

import queue as queues
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.shared.message import SessionMessage
from mcp_types.jsonrpc import JSONRPCError, JSONRPCNotification
from pydantic import SecretStr

from asyncmcp_kombu import kombu_client
from asyncmcp_kombu.envelope import Envelope, compose
from asyncmcp_kombu.errors import BrokerUnreachable, ConfigurationError, MessageTooLarge
from asyncmcp_kombu.server.replies import Replies
from asyncmcp_kombu.settings import Settings
from tests.brokers.network import at_port
from tests.brokers.proxy import Proxy
from tests.client.responder import SOON, Responder, asking, echo, result_of, telling
from tests.services import MEMORY_URL, cleanup_queues, free_port, new_prefix, queues_on, quick

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def settings() -> Settings:
    return Settings(broker_url=SecretStr(MEMORY_URL), server="echo", prefix=new_prefix())


@pytest.fixture(scope="module")
def running(settings: Settings) -> Iterator[Responder]:
    with Responder(settings) as responder:
        yield responder
    cleanup_queues(MEMORY_URL, settings.prefix)


@pytest.fixture
def responder(running: Responder) -> Responder:
    """The responder of this module, as if it had just started."""
    running.answer, running.requests = echo, queues.Queue()
    return running


def our_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("asyncmcp-")]


async def test_a_request_is_answered(settings: Settings, responder: Responder):
    async with kombu_client(settings=settings) as (read, write):
        await write.send(asking(1, text="größe"))
        with anyio.fail_after(SOON):
            assert result_of(await read.receive()) == (1, {"text": "größe"})


async def test_what_is_sent_says_who_asks_and_where_to_answer(settings: Settings, responder: Responder):
    async with kombu_client(settings=settings) as (_, write):
        await write.send(asking(1))
        await write.send(telling())
    request, notification = (responder.requests.get(timeout=SOON) for _ in range(2))
    assert len(request.client_id or "") == 32
    assert (request.reply_to or "").startswith(f"{settings.prefix}echo-reply-")
    assert request.reply_to != f"{settings.prefix}echo-reply-{request.client_id}"
    assert request.expires_at is None
    assert (notification.kind, notification.method) == ("notification", "notifications/test")
    assert notification.client_id == request.client_id


async def test_sessions_with_equal_request_ids_get_their_own_answers(settings: Settings, responder: Responder):
    async with (
        kombu_client(settings=settings) as (read_a, write_a),
        kombu_client(settings=settings) as (read_b, write_b),
    ):
        await write_a.send(asking(1, who="a"))
        await write_b.send(asking(1, who="b"))
        with anyio.fail_after(SOON):
            assert result_of(await read_b.receive()) == (1, {"who": "b"})
            assert result_of(await read_a.receive()) == (1, {"who": "a"})


async def test_200_sessions_of_a_process_use_one_mailbox(settings: Settings, responder: Responder):
    before = len(our_threads())
    async with AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(kombu_client(settings=settings)) for _ in range(200)]
        for number, (_, write) in enumerate(sessions):
            await write.send(asking(1, number=number))
        with anyio.fail_after(SOON):
            answers = [result_of(await read.receive()) for read, _ in sessions]
        assert answers == [(1, {"number": number}) for number in range(200)]
        # One inbox and one publisher, and the publisher of the responder, which has answered now.
        assert len(our_threads()) - before <= 3
        replies = [name for name in queues_on(MEMORY_URL, [settings.prefix]) if "-reply-" in name]
        assert len(replies) == 1


async def test_closing_is_quick_and_leaves_neither_thread_nor_queue(settings: Settings, responder: Responder):
    before = our_threads()
    async with kombu_client(settings=settings) as (_, write):
        await write.send(telling())
        started = time.monotonic()
    assert time.monotonic() - started < quick(1)
    assert sorted(our_threads()) == sorted(before)
    assert not [name for name in queues_on(MEMORY_URL, [settings.prefix]) if "-reply-" in name]


async def test_a_session_that_ends_leaves_the_others_their_mailbox(settings: Settings, responder: Responder):
    async with kombu_client(settings=settings) as (read, write):
        async with kombu_client(settings=settings) as (_, other):
            await other.send(asking(1))
        await write.send(asking(1, still="there"))
        with anyio.fail_after(SOON):
            assert result_of(await read.receive()) == (1, {"still": "there"})


async def test_what_the_broker_reorders_arrives_in_order(settings: Settings, responder: Responder):
    def backwards(request: Envelope, replies: Replies) -> None:
        sent: list[tuple[str, Envelope]] = []
        collecting = Replies(request, lambda queue, envelope: sent.append((queue, envelope)) or _done())
        for number in range(3):
            collecting.notify("notifications/progress", {"progressToken": 1, "progress": number})
        collecting.result({"echo": {}})
        for queue, envelope in reversed(sent):
            responder.publisher.publish(queue, envelope)

    responder.answer = backwards
    async with kombu_client(settings=settings) as (read, write):
        await write.send(asking(1))
        with anyio.fail_after(SOON):
            *progress, response = [await read.receive() for _ in range(4)]
    assert [_params(item)["progress"] for item in progress] == [0, 1, 2]
    assert result_of(response) == (1, {})


async def test_a_response_is_not_held_back_by_progress_that_never_comes(settings: Settings, responder: Responder):
    def lossy(request: Envelope, replies: Replies) -> None:
        message = {"jsonrpc": "2.0", "id": 1, "result": {"echo": {}}}
        response = compose(message, client_id=request.client_id, sequence=1)
        responder.publisher.publish(request.reply_to or "", response)

    responder.answer = lossy
    async with kombu_client(settings=settings) as (read, write):
        await write.send(asking(1))
        with anyio.fail_after(SOON):
            assert result_of(await read.receive()) == (1, {})


async def test_errors_of_the_server_reach_the_session(settings: Settings, responder: Responder):
    responder.answer = lambda _, replies: replies.error(ConfigurationError("no").error_data()) and None
    async with kombu_client(settings=settings) as (read, write):
        await write.send(asking(1))
        with anyio.fail_after(SOON):
            item = await read.receive()
    assert isinstance(item, SessionMessage)
    assert isinstance(item.message, JSONRPCError)
    assert (item.message.id, item.message.error.code) == (1, -32603)


async def test_a_message_too_large_is_raised_to_its_sender(settings: Settings, responder: Responder):
    small = settings.model_copy(update={"max_message_bytes": 1_024})
    async with kombu_client(settings=small) as (read, write):
        with pytest.raises(MessageTooLarge, match="ASYNCMCP_MAX_MESSAGE_BYTES"):
            await write.send(asking(1, text="x" * 2_000))
        await write.send(asking(2))
        with anyio.fail_after(SOON):
            assert result_of(await read.receive()) == (2, {})


async def test_what_arrives_for_a_session_that_has_ended_is_dropped(settings: Settings, responder: Responder):
    async with kombu_client(settings=settings) as (read, write):
        await read.aclose()  # as the SDK does when a client is closed
        await write.send(asking(1))
        request = await anyio.to_thread.run_sync(partial(responder.requests.get, timeout=SOON))
        Replies(request, responder.publisher.publish).notify("notifications/tasks", {}).result(SOON)
        async with kombu_client(settings=settings) as (heard, asks):  # its answer comes after the others
            await asks.send(asking(1, text="last"))
            with anyio.fail_after(SOON):
                assert result_of(await heard.receive()) == (1, {"text": "last"})


async def test_a_closed_write_stream_refuses(settings: Settings, responder: Responder):
    async with kombu_client(settings=settings) as (_, write):
        await write.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            await write.send(asking(1))


@pytest.mark.parametrize(
    "arguments",
    [{"broker_url": "http://x"}, {"server": "no spaces"}, {"broker_url": "memory://", "server": "x" * 60}],
)
def test_what_cannot_be_used_is_refused_before_anything_is_connected(arguments: dict[str, Any]):
    with pytest.raises(ConfigurationError):
        kombu_client(**arguments)


async def test_an_unreachable_broker_is_raised_on_entering(prefix: str):
    url = f"sqs://user:hunter2@127.0.0.1:{free_port()}"
    with pytest.raises(BrokerUnreachable) as caught:
        async with kombu_client(url, settings=Settings(prefix=prefix)):
            pass
    assert "hunter2" not in str(caught.value)


async def test_a_broker_that_has_gone_is_raised_to_the_sender(sqs_url: str, prefix: str):
    proxy = Proxy(int(sqs_url.rpartition(":")[2]))
    settings = Settings(broker_url=SecretStr(at_port(sqs_url, proxy.port)), prefix=prefix)
    try:
        async with Client(kombu_client(settings=settings), mode="2026-07-28") as client:
            proxy.cut()
            with pytest.raises(BrokerUnreachable, match="ASYNCMCP_BROKER_URL"), anyio.fail_after(SOON):
                await client.list_tools()
            proxy.restore()
    finally:
        proxy.close()
        cleanup_queues(sqs_url, prefix)


def _done() -> Any:
    from concurrent.futures import Future

    done: Future[None] = Future()
    done.set_result(None)
    return done


def _params(item: SessionMessage | Exception) -> dict[str, Any]:
    assert isinstance(item, SessionMessage)
    assert isinstance(item.message, JSONRPCNotification)
    return item.message.params or {}
