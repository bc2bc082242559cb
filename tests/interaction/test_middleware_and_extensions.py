"""A server's middleware, and extensions: of the server, of the client, and between the two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import mcp_types as types
import pytest
from mcp import MCPError
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim, advertise
from mcp_types import CallToolResult, TextContent

from tests.interaction.connect import Connect
from tests.interaction.servers.extended import EXTENSION, SETTINGS, TICKET, ShoutParams
from tests.interaction.spec import requirement

pytestmark = pytest.mark.anyio


class ShoutRequest(types.Request[ShoutParams, Literal["com.example/shout"]]):
    method: Literal["com.example/shout"] = "com.example/shout"
    params: ShoutParams


class ShoutResult(types.Result):
    said: str


class Ticket(types.Result):
    """What the extension answers instead of a result."""

    result_type: Literal["com.example/ticket"] = TICKET
    number: int


class Tickets(ClientExtension):
    """The client's half: it redeems tickets."""

    identifier = EXTENSION

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return [ResultClaim(result_type=TICKET, model=Ticket, resolve=self.redeem)]

    async def redeem(self, ticket: Ticket, context: ClaimContext) -> CallToolResult:
        again = await context.session.call_tool(context.tool_name, {"text": f"ticket {ticket.number}"})
        assert isinstance(again, CallToolResult)
        return again


@requirement("sdk", "Middleware wraps every message: it may refuse one.")
async def test_middleware_refuses_a_call(connect: Connect) -> None:
    async with connect() as client:
        with pytest.raises(MCPError, match="not for you") as caught:
            await client.call_tool("forbidden", {})
    assert (caught.value.error.code, caught.value.error.data) == (-40001, {"tool": "forbidden"})


@requirement("sdk", "Middleware wraps every message: it may rewrite one.")
async def test_middleware_rewrites_a_call(connect: Connect) -> None:
    async with connect() as client:
        assert (await client.call_tool("alias", {"text": "who?"})).structured_content == {"result": "who?"}


@requirement(
    "2026-07-28/basic/versioning#extension-negotiation", "Extensions are advertised in capabilities.", era="2026"
)
async def test_an_extension_is_advertised_with_its_settings_by_both_sides(connect: Connect) -> None:
    async with connect(extensions=[advertise("com.example/other", {"a": 1})]) as client:
        assert client.server_capabilities.extensions == {EXTENSION: SETTINGS}
        seen = (await client.call_tool("whoami", {})).structured_content or {}
    assert seen["capabilities"]["extensions"] == {"com.example/other": {"a": 1}}


@requirement("sdk", "An extension's methods are served in every version that it names; none means all.")
async def test_a_method_of_an_extension_is_served(connect: Connect) -> None:
    async with connect() as client:
        request = ShoutRequest(params=ShoutParams(text="hey", times=2))
        assert (await client.session.send_request(request, ShoutResult)).said == "HEYHEY"


@requirement("2026-07-28/basic/index#resulttype", "Extensions MAY add additional ResultType values.", era="2026")
async def test_a_result_of_an_extensions_own_is_resolved_by_the_client_that_knows_it(connect: Connect) -> None:
    async with connect(extensions=[Tickets()]) as client:
        result = await client.call_tool("echo", {"text": "ticket, please"})
    assert result.content == [TextContent(text="ticket 7")]


@requirement("2026-07-28/basic/versioning#extension-negotiation", "Without it on both sides: core behavior.")
async def test_a_client_without_the_extension_gets_the_ordinary_result(connect: Connect) -> None:
    async with connect() as client:
        result = await client.call_tool("echo", {"text": "ticket, please"})
    assert result.content == [TextContent(text="ticket, please")]
