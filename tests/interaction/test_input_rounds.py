"""What a server asks of a client since 2026-07-28: it answers with what it needs, and is called again with it."""

from __future__ import annotations

from typing import Any

import mcp_types as types
import pytest
from mcp import MCPError
from mcp_types import TextContent

from tests.interaction.connect import Connect
from tests.interaction.servers import LOWLEVEL
from tests.interaction.spec import requirement
from tests.interaction.user import User, text_of

pytestmark = pytest.mark.anyio


@requirement("2026-07-28/basic/patterns/mrtr", "Server-initiated requests are no longer supported.", era="2026")
@pytest.mark.parametrize(("tool", "arguments"), [("books", {"occasion": "lunch"}), ("lists_roots", {}), ("pings", {})])
async def test_since_2026_07_28_a_server_cannot_send_requests(
    connect: Connect, tool: str, arguments: dict[str, Any]
) -> None:
    user = User()
    async with connect(**user.callbacks) as client:
        with pytest.raises(MCPError):
            await client.call_tool(tool, arguments)
    assert user.asked == []


@requirement(
    "2026-07-28/basic/patterns/mrtr#client-requirements-basic-workflow",
    "The client MUST construct the requested inputs before retrying the original request.",
    era="2026",
)
async def test_a_tool_gets_the_input_that_it_asks_for(connect: Connect) -> None:
    user = User()
    async with connect(**user.callbacks) as client:
        assert text_of(await client.call_tool("asks_one", {"greeting": "Hello"})) == "Hello Ada"
    assert [params.message for params in user.asked] == ["Who are you?"]


@requirement("2026-07-28/basic/patterns/mrtr#inputresponses", "Keys correspond to those of inputRequests.", era="2026")
async def test_several_inputs_are_gathered_in_one_round(connect: Connect) -> None:
    async with connect(**User().callbacks) as client:
        assert text_of(await client.call_tool("asks_three", {})) == "Ada, Ada says hi, file:///home/Ada"


@requirement("2026-07-28/basic/patterns/mrtr#inputrequiredresult", "requestState is opaque to clients.", era="2026")
async def test_state_travels_through_the_rounds_of_a_call(connect: Connect) -> None:
    async with connect(**User().callbacks) as client:
        asked_by, name, colour, answered_by = text_of(await client.call_tool("asks_twice", {})).split()
        assert text_of(await client.call_tool("comes_back", {})) == "now is later"
    assert (name, colour) == ("Ada", "Ada")
    assert asked_by.isdigit()
    assert answered_by.isdigit()


@requirement("2026-07-28/basic/patterns/mrtr#supported-requests", "prompts/get and resources/read, too.", era="2026")
async def test_a_prompt_and_a_resource_ask_as_well(connect: Connect) -> None:
    async with connect(**User("queues").callbacks) as client:
        prompt = await client.get_prompt("tailored")
        (content,) = (await client.read_resource("locked://box")).contents
    assert prompt.messages[0].content == TextContent(text="Tell me about queues")
    assert isinstance(content, types.TextResourceContents)
    assert content.text == "box opened with queues"


@requirement(
    "2026-07-28/basic/patterns/mrtr#server-requirements-basic-workflow",
    "Servers MUST reject state that fails verification, SHOULD reject it on another request.",
    era="2026",
)
@pytest.mark.parametrize("misuse", ["altered", "made up", "on another tool"])
async def test_state_that_the_server_did_not_make_for_this_call_is_refused(connect: Connect, misuse: str) -> None:
    async with connect() as client:
        first = await client.session.call_tool("asks_twice", {}, allow_input_required=True)
        assert isinstance(first, types.InputRequiredResult)
        assert first.request_state is not None
        state = {"altered": first.request_state[:-2] + "xx", "made up": "4711"}.get(misuse, first.request_state)
        tool = "comes_back" if misuse == "on another tool" else "asks_twice"
        with pytest.raises(MCPError) as caught:
            await client.session.call_tool(tool, {}, request_state=state, allow_input_required=True)
    assert caught.value.error.code == types.INVALID_PARAMS


@requirement("2026-07-28/basic/patterns/mrtr#inputrequiredresult", "requestState MUST be echoed exactly.", era="2026")
async def test_a_low_level_server_asks_in_rounds_as_well(connect: Connect) -> None:
    async with connect(LOWLEVEL, **User().callbacks) as client:
        assert text_of(await client.call_tool("ask", {})) == "Ada, not sealed"
