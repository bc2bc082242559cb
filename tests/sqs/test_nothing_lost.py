"""What may go wrong between queues: two servers, killed servers, restarted clients, bad messages, shared queues."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anyio
import pytest
from mcp import ClientSession
from mcp.shared.message import SessionMessage
from mcp_types.jsonrpc import JSONRPCRequest

from asyncmcp_kombu import SqsClientConfig
from asyncmcp_kombu.sqs import sqs_client
from tests.sqs.aws import Aws
from tests.sqs.processes import serving
from tests.sqs.test_queue_to_queue import Serving, client_config, text_of

pytestmark = pytest.mark.anyio

HANDSHAKE = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}


async def test_two_servers_on_one_queue_lose_nothing_even_when_one_is_killed(aws: Aws):
    requests = aws.queue("requests")
    answers, seen = dict[str, str](), set[str]()

    async def call(session: ClientSession, text: str) -> None:
        answers[text] = text_of(await session.call_tool("slowly", {"text": text, "seconds": 0.3}))

    async def see(session: ClientSession) -> None:
        seen.add(text_of(await session.call_tool("process", {})))

    with serving(aws, "sqs", requests, "2") as first, serving(aws, "sqs", requests, "2"):
        config = client_config(aws, requests, "responses")
        with anyio.fail_after(40):
            async with sqs_client(config, aws.sqs) as (read, write), ClientSession(read, write) as session:
                await session.initialize()
                while len(seen) < 2:  # one at a time might all go to the poll that the engine looks at first
                    async with anyio.create_task_group() as tasks:
                        for _ in range(30):
                            tasks.start_soon(see, session)
                async with anyio.create_task_group() as tasks:
                    for number in range(20):
                        tasks.start_soon(call, session, f"call {number}")
                    await anyio.sleep(0.2)
                    first.kill()
    assert len(seen) == 2
    assert answers == {f"call {number}": f"call {number}" for number in range(20)}


@pytest.mark.parametrize("client_id", [None, "worker-7"], ids=["a new id", "the same id"])
async def test_a_restarted_client_never_gets_another_requests_answer(aws: Aws, client_id: str | None):
    fields = {"client_id": client_id, "wait_time_seconds": 1}
    async with Serving(aws) as requests:
        config = client_config(aws, requests, "responses", **fields)
        async with sqs_client(config, aws.sqs) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            params = {"name": "slowly", "arguments": {"text": "ANSWER OF BEFORE", "seconds": 0.6}}
            # Not by `session`, which cancels what is open when it ends.
            await write.send(SessionMessage(JSONRPCRequest(jsonrpc="2.0", id=2, method="tools/call", params=params)))
        with anyio.fail_after(20):  # the answer comes while nobody reads
            while sum(aws.depth(config.response_queue_url)) == 0:
                await anyio.sleep(0.1)
            async with sqs_client(config, aws.sqs) as (read, write), ClientSession(read, write) as session:
                await session.initialize()
                for number in range(6):  # among them the id of that request
                    assert text_of(await session.call_tool("echo", {"text": str(number)})) == str(number)
        if client_id is not None:
            assert aws.depth(config.response_queue_url) == (0, 0)


async def test_clients_that_share_a_response_queue_leave_each_other_their_answers(aws: Aws):
    async with Serving(aws) as requests:
        config = client_config(aws, requests, "responses", wait_time_seconds=1)

        async def client(name: str) -> None:
            async with sqs_client(config, aws.sqs) as (read, write), ClientSession(read, write) as session:
                await session.initialize()
                for number in range(4):
                    assert text_of(await session.call_tool("echo", {"text": f"{name} {number}"})) == f"{name} {number}"

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client, "one")
                tasks.start_soon(client, "two")


async def test_a_bad_message_is_answered_with_its_own_id_and_wedges_nothing(aws: Aws):
    async with Serving(aws, dead_letter_queue_url=aws.queue("dead")) as requests:
        mine = aws.queue("mine")
        receive = lambda: asyncio.to_thread(aws.receive, mine)  # noqa: E731
        with anyio.fail_after(30):
            # As asyncmcp's clients: the address once, and then the SessionId only.
            opening = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": HANDSHAKE}
            opening["params"] = {**HANDSHAKE, "response_queue_url": mine}
            aws.send(requests, opening, ClientId="raw", MessageType="jsonrpc")
            opened = await receive()
            session_id = opened["MessageAttributes"]["SessionId"]["StringValue"]
            assert json.loads(opened["Body"])["result"]["serverInfo"]["name"] == "notes"
            bad = {"jsonrpc": "1.0", "id": 7, "method": "tools/list"}
            for body, attributes, own_id in (
                (bad, {"ClientId": "raw", "SessionId": session_id}, 7),
                ("{not json", {"ClientId": "raw", "SessionId": session_id, "RequestId": "8", "Method": "x"}, "8"),
                ({"jsonrpc": "2.0", "id": 9, "method": "tools/list"}, {"ReplyTo": mine, "RequestId": "1"}, 9),
            ):
                aws.send(requests, body, MessageType="jsonrpc", **attributes)
                refusal = json.loads((await receive())["Body"])
                assert refusal["id"] == own_id
                assert refusal["error"]["code"] < 0
            for body in ("[]", "null", "garbage", json.dumps({"task": "celery.backend_cleanup"})):
                aws.send(requests, body)
            aws.send(requests, {"jsonrpc": "2.0", "id": 1, "method": "ping"}, ClientId="raw", SessionId=session_id)
            assert json.loads((await receive())["Body"])["id"] == 1
            for _ in range(4):
                assert (await asyncio.to_thread(aws.receive, aws.queue("dead")))["MessageAttributes"]["Reason"]
        while aws.depth(requests) != (0, 0):
            await anyio.sleep(0.1)


async def test_an_answer_goes_to_no_queue_outside_the_rule(aws: Aws):
    allowed, other = aws.queue("replies-1"), aws.queue("payroll")
    patterns = [allowed.replace("replies-1", "replies-*"), f"arn:aws:sns:*:{aws.prefix}replies-*"]
    async with Serving(aws, reply_addresses=patterns, dead_letter_queue_url=aws.queue("dead")) as requests:
        with anyio.fail_after(20):
            for address in (other, requests, f"arn:aws:sns:us-east-1:000000000000:{aws.prefix}other", "payroll"):
                aws.send(requests, {"jsonrpc": "2.0", "id": 1, "method": "ping"}, ReplyTo=address)
                dead = await asyncio.to_thread(aws.receive, aws.queue("dead"))
                assert dead["MessageAttributes"]["Reason"]["StringValue"] == "reply-address"
            aws.send(requests, {"jsonrpc": "2.0", "id": 1, "method": "ping"}, ReplyTo=allowed)
            assert json.loads((await asyncio.to_thread(aws.receive, allowed))["Body"])["id"] == 1
    assert aws.depth(other) == (0, 0)


async def test_bad_messages_on_the_response_queue_do_not_wedge_the_client(aws: Aws):
    async with Serving(aws) as requests:
        config = client_config(aws, requests, "responses")
        for body in ("garbage", "[]", json.dumps({"jsonrpc": "2.0", "id": 0, "result": {"protocolVersion": "old"}})):
            aws.send(config.response_queue_url, body)
        with anyio.fail_after(20):
            async with sqs_client(config, aws.sqs) as (read, write), ClientSession(read, write) as session:
                assert (await session.initialize()).protocol_version != "old"
                assert text_of(await session.call_tool("echo", {"text": "on"})) == "on"


async def test_a_sessions_end_leaves_nothing_behind_at_the_server(aws: Aws):
    async with Serving(aws) as requests:
        await _session(aws, requests, 0)
        tasks, queues = len(asyncio.all_tasks()), len(aws.sqs.list_queues().get("QueueUrls", ()))
        for _ in range(5):
            await _session(aws, requests, 0)
        assert len(asyncio.all_tasks()) == tasks
        assert len(aws.sqs.list_queues().get("QueueUrls", ())) == queues
        assert aws.depth(requests)[0] == 0


async def _session(aws: Aws, requests: str, number: int) -> Any:
    config = SqsClientConfig(read_queue_url=requests, response_queue_url=aws.queue(f"client{number}"))
    async with sqs_client(config, aws.sqs) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        return await session.call_tool("echo", {"text": "hi"})
