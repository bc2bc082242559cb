"""requestState that one process has sealed is opened by any other with the same key."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.request_state import RequestStateSecurity
from mcp_types import CLIENT_CAPABILITIES_META_KEY, ElicitRequest, ElicitRequestFormParams, InputRequiredResult

from asyncmcp_kombu.server.dispatch import dispatch
from asyncmcp_kombu.server.lowlevel import lowlevel_of
from asyncmcp_kombu.server.replies import Replies
from asyncmcp_kombu.server.request_state import share_request_state
from tests.server.recording import META, Recording, request, serving

pytestmark = pytest.mark.anyio

KEY, OTHER = b"k" * 32, b"o" * 32
CAPABLE = {**META, CLIENT_CAPABILITIES_META_KEY: {"elicitation": {"form": {}}}}
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}


def process(keys: list[bytes] | None, security: RequestStateSecurity | None = None) -> Any:
    """A server as one process has it."""
    server = MCPServer("s", request_state_security=security)

    @server.tool()
    async def rounds(ctx: Context) -> str | InputRequiredResult:
        if ctx.input_responses is None:
            question = ElicitRequest(params=ElicitRequestFormParams(message="name?", requested_schema=SCHEMA))
            return InputRequiredResult(input_requests={"name": question}, request_state="kept")
        return f"state {ctx.request_state}"

    if keys is not None:
        share_request_state(lowlevel_of(server), keys)
    return lowlevel_of(server)


async def called(server: Any, **params: Any) -> Any:
    incoming = request("tools/call", {"name": "rounds", **params}, meta=CAPABLE)
    return await dispatch(serving(server, {}), incoming, Replies(incoming, Recording()))


async def second_round(server: Any, state: str) -> Any:
    answer = {"name": {"action": "accept", "content": {"name": "Ada"}}}
    return await called(server, inputResponses=answer, requestState=state)


async def test_the_next_round_may_go_to_another_process():
    first = await called(process([KEY]))
    assert first["resultType"] == "input_required"
    assert "kept" not in first["requestState"]
    second = await second_round(process([KEY]), first["requestState"])
    assert second["content"][0]["text"] == "state kept"


async def test_without_a_shared_key_it_may_not():
    first = await called(process(None))
    assert (await second_round(process(None), first["requestState"])).code < 0


async def test_a_key_that_is_being_replaced_is_still_accepted():
    first = await called(process([OTHER]))
    assert (await second_round(process([KEY, OTHER]), first["requestState"]))["content"][0]["text"] == "state kept"
    assert (await second_round(process([KEY]), first["requestState"])).code < 0


async def test_a_key_of_the_servers_own_is_still_accepted():
    security = RequestStateSecurity(keys=[OTHER])
    first = await called(process(None, security))
    second = await second_round(process([KEY], RequestStateSecurity(keys=[OTHER])), first["requestState"])
    assert second["content"][0]["text"] == "state kept"


async def test_a_codec_that_the_author_wrote_is_left_alone():
    class Plain:
        def seal(self, payload: bytes) -> str:
            return payload.hex()

        def unseal(self, token: str) -> bytes:
            return bytes.fromhex(token)

    first = await called(process([KEY], RequestStateSecurity(codec=Plain())))
    assert bytes.fromhex(first["requestState"])
