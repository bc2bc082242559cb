"""One mailbox serves all sessions of a process, whatever one of them or a message does to it."""

from __future__ import annotations

import asyncio
import json
import logging
import queue as queues
import threading
import time
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from pydantic import SecretStr

from asyncmcp_kombu import kombu_client
from asyncmcp_kombu.client import mailbox as module
from asyncmcp_kombu.client import transport
from asyncmcp_kombu.client.mailbox import Mailbox, close_mailbox, open_mailbox
from asyncmcp_kombu.envelope import Envelope, compose
from asyncmcp_kombu.server.replies import Replies
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.topology import Topology
from tests.client.responder import SOON, Responder
from tests.services import MEMORY_URL, cleanup_queues


@pytest.fixture
def settings(prefix: str) -> Iterator[Settings]:
    yield Settings(broker_url=SecretStr(MEMORY_URL), server="echo", prefix=prefix)
    cleanup_queues(MEMORY_URL, prefix)


@pytest.fixture
def topology(settings: Settings) -> Topology:
    return Topology(settings.server, settings.prefix)


@pytest.fixture
def opened(settings: Settings, topology: Topology) -> Iterator[Mailbox]:
    mailbox = open_mailbox(settings, topology)
    yield mailbox
    close_mailbox(mailbox)


@pytest.fixture
def responder(settings: Settings) -> Iterator[Responder]:
    with Responder(settings) as responder:
        yield responder


def answer_to(client_id: str, request_id: int = 1) -> Envelope:
    return compose({"jsonrpc": "2.0", "id": request_id, "result": {}}, client_id=client_id)


def test_who_opens_the_same_again_gets_the_same_mailbox(settings: Settings, topology: Topology, opened: Mailbox):
    again = open_mailbox(settings, topology)
    assert again is opened
    close_mailbox(again)


def test_another_server_has_a_mailbox_of_its_own(settings: Settings, opened: Mailbox):
    other = open_mailbox(settings, Topology("other", settings.prefix))
    assert other.reply_to != opened.reply_to
    close_mailbox(other)


def test_many_who_open_at_once_open_one(settings: Settings, topology: Topology):
    found: list[Mailbox] = []
    threads = [threading.Thread(target=lambda: found.append(open_mailbox(settings, topology))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert len(found) == 16
    assert len({id(mailbox) for mailbox in found}) == 1
    for mailbox in found:
        close_mailbox(mailbox)


def test_what_cannot_be_read_or_is_for_nobody_is_dropped_and_the_rest_arrives(
    opened: Mailbox, responder: Responder, caplog: pytest.LogCaptureFixture
):
    got: queues.Queue[Envelope] = queues.Queue()
    opened.join("here", got.put)
    with caplog.at_level(logging.WARNING):
        responder.publisher.publish_raw(opened.reply_to, b"not json", {"MessageType": "jsonrpc"})
        responder.publisher.publish(opened.reply_to, answer_to("nobody"))
        responder.publisher.publish(opened.reply_to, answer_to("here", 2))
        assert got.get(timeout=SOON).request_id == 2
    assert f"dropped a message on {opened.reply_to}" in caplog.text


def test_a_session_that_has_left_gets_nothing(opened: Mailbox, responder: Responder):
    got: queues.Queue[tuple[str, Envelope]] = queues.Queue()
    for name in ("gone", "here"):
        opened.join(name, lambda envelope, name=name: got.put((name, envelope)))
    opened.leave("gone")
    opened.leave("gone")
    responder.publisher.publish(opened.reply_to, answer_to("gone"))
    responder.publisher.publish(opened.reply_to, answer_to("here"))
    assert got.get(timeout=SOON)[0] == "here"
    assert got.empty()


def test_a_session_whose_event_loop_has_ended_does_not_disturb_the_others(
    opened: Mailbox, responder: Responder, caplog: pytest.LogCaptureFixture
):
    loop = asyncio.new_event_loop()
    loop.close()
    got: queues.Queue[Envelope] = queues.Queue()
    opened.join("dead", lambda envelope: loop.call_soon_threadsafe(print, envelope))
    opened.join("here", got.put)
    with caplog.at_level(logging.WARNING):
        responder.publisher.publish(opened.reply_to, answer_to("dead"))
        responder.publisher.publish(opened.reply_to, answer_to("here"))
        got.get(timeout=SOON)
    assert "lost the inbox" not in caplog.text


@pytest.mark.anyio
async def test_a_reply_above_the_clients_own_limit_ends_its_call_with_an_error(
    settings: Settings, responder: Responder
):
    small = settings.model_copy(update={"max_message_bytes": 1_024})
    responder.answer = lambda _, replies: replies.result({"text": "x" * 2_000}) and None
    async with Client(kombu_client(settings=small), mode="2026-07-28") as client:
        with anyio.fail_after(2), pytest.raises(MCPError):
            await client.call_tool("any", {})


@pytest.mark.anyio
async def test_a_reply_that_cannot_be_read_ends_its_call_with_an_error(settings: Settings, responder: Responder):
    def too_deep(request: Envelope, replies: Replies) -> None:
        deep: dict[str, Any] = {}
        for _ in range(300):
            deep = {"x": deep}
        text = json.dumps({"jsonrpc": "2.0", "id": request.request_id, "result": deep})
        headers = Envelope(body=b"", message={"id": request.request_id}, timestamp=0.0, client_id=request.client_id)
        responder.publisher.publish_raw(request.reply_to or "", text.encode(), {**headers.headers(), "Sequence": 0})

    responder.answer = too_deep
    async with Client(kombu_client(settings=settings), mode="2026-07-28") as client:
        with anyio.fail_after(2), pytest.raises(MCPError) as caught:
            await client.call_tool("any", {})
    assert caught.value.error.code == -32700


def test_a_session_that_is_cancelled_while_it_opens_leaves_no_mailbox(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    opening, go_on, opened = threading.Event(), threading.Event(), threading.Event()

    def slowly(*arguments: Any) -> Mailbox:
        opening.set()
        assert go_on.wait(SOON)
        try:
            return open_mailbox(*arguments)
        finally:
            opened.set()

    monkeypatch.setattr(transport, "open_mailbox", slowly)

    async def enter_and_be_cancelled() -> None:
        task = asyncio.create_task(kombu_client(settings=settings).__aenter__())
        assert await asyncio.to_thread(opening.wait, SOON)
        task.cancel()
        await asyncio.wait([task], timeout=0.2)
        go_on.set()
        await asyncio.wait([task], timeout=SOON)
        assert await asyncio.to_thread(opened.wait, SOON)

    before = set(module._open)  # of fixtures that others share
    asyncio.run(enter_and_be_cancelled())
    give_up_at = time.monotonic() + 2
    while module._open.keys() - before and time.monotonic() < give_up_at:
        time.sleep(0.01)
    left = [mailbox for key, (mailbox, _) in module._open.items() if key not in before]
    for mailbox in left:
        close_mailbox(mailbox)
    assert left == []
