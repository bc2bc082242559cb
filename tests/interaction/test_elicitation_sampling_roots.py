"""What a server asks of a client before 2026-07-28: by requests of its own. Since then: test_input_rounds.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp import MCPError
from mcp_types import (
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequestFormParams,
    ElicitRequestURLParams,
    ElicitResult,
    ListRootsResult,
    Root,
    TextContent,
)

from tests.interaction.connect import SOON, Connect, until
from tests.interaction.heard import Heard, Progress
from tests.interaction.servers import LOWLEVEL
from tests.interaction.spec import requirement
from tests.interaction.user import User, text_of

pytestmark = pytest.mark.anyio


@requirement("2025-11-25/client/elicitation#response-actions", "Accept, decline, cancel.", era="handshake")
@pytest.mark.parametrize(
    ("action", "data"), [("accept", {"name": "Ada", "seats": 3}), ("decline", None), ("cancel", None)]
)
async def test_a_user_is_asked_in_a_form_and_his_action_reaches_the_tool(
    connect: Connect, action: str, data: dict[str, Any] | None
) -> None:
    user = User(action=action)
    async with connect(**user.callbacks) as client:
        result = await client.call_tool("books", {"occasion": "lunch"})
    assert result.structured_content == {"action": action, "data": data}
    (params,) = user.asked
    assert isinstance(params, ElicitRequestFormParams)
    assert params.message == "A table for lunch?"
    assert set(params.requested_schema["properties"]) == {"name", "seats"}


@requirement("2025-11-25/client/elicitation#url-mode-elicitation-requests", "Direct users to a URL.", era="handshake")
async def test_a_user_is_sent_to_a_page_and_hears_when_that_is_done(connect: Connect) -> None:
    user, heard = User(), Heard[Any]()
    async with connect(message_handler=heard, **user.callbacks) as client:
        assert (await client.call_tool("sends_away", {})).structured_content == {"result": "accept"}
        (complete,) = await heard.until_there_are(1)
    assert complete.params.elicitation_id == "e1"
    assert isinstance(user.asked[0], ElicitRequestURLParams)
    assert user.asked[0].url == "https://example.com/login"


@requirement("2025-11-25/client/sampling#creating-messages", "Servers send sampling/createMessage.", era="handshake")
async def test_the_clients_model_is_asked_with_all_parameters(connect: Connect) -> None:
    user = User()
    async with connect(**user.callbacks) as client:
        result = await client.call_tool("samples", {"text": "Say hi ✓"})
    assert result.structured_content == {"text": "Ada says hi", "model": "m1", "stop": "endTurn"}
    (params,) = user.asked
    assert params.messages[0].content == TextContent(text="Say hi ✓")
    assert (params.max_tokens, params.system_prompt, params.temperature) == (50, "Be brief.", 0.5)
    assert params.model_preferences.hints[0].name == "small"


@requirement("2025-11-25/client/roots#listing-roots", "To retrieve roots, servers send roots/list.", era="handshake")
async def test_the_clients_roots_are_listed(connect: Connect) -> None:
    async with connect(**User().callbacks) as client:
        result = await client.call_tool("lists_roots", {})
    assert result.structured_content == {"result": ["home file:///home/Ada"]}


@requirement("2025-11-25/basic/utilities/ping", "Either the client or server can initiate a ping.", era="handshake")
async def test_a_server_pings_its_client(connect: Connect) -> None:
    async with connect() as client:
        assert (await client.call_tool("pings", {})).structured_content == {"result": "the client answered"}


@requirement("2025-11-25/client/elicitation#error-handling", "Clients return an error when it fails.", era="handshake")
async def test_a_client_that_cannot_be_asked_says_so_to_the_tool(connect: Connect) -> None:
    async with connect() as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("books", {"occasion": "lunch"})
    assert caught.value.error.code == types.INVALID_REQUEST


@requirement("2025-11-25/basic/utilities/progress#progress-flow", "Either side reports progress.", era="handshake")
async def test_a_client_reports_progress_to_the_tool_that_asked(connect: Connect) -> None:
    user = User()

    async def sample(context: Any, params: CreateMessageRequestParams) -> CreateMessageResult:
        token = (context.meta or {})["progress_token"]
        for n in (1, 2, 3):
            await context.session.send_progress_notification(token, n)
        return await user.sample(context, params)

    async with connect(sampling_callback=sample) as client:
        assert (await client.call_tool("watches", {})).structured_content == {"result": [1, 2, 3]}


@requirement("2025-11-25/basic/lifecycle#timeouts", "The sender of a request SHOULD stop waiting.", era="handshake")
async def test_a_tool_gives_up_asking_and_the_client_is_told(connect: Connect) -> None:
    stopped = anyio.Event()

    async def sample(context: Any, params: CreateMessageRequestParams) -> CreateMessageResult:
        try:
            await anyio.sleep_forever()
        finally:
            stopped.set()
        raise AssertionError

    async with connect(sampling_callback=sample) as client:
        result = await client.call_tool("impatient", {})
        with anyio.fail_after(SOON):
            await stopped.wait()
    assert result.structured_content == {"result": f"gave up: {types.REQUEST_TIMEOUT}"}


@requirement("2025-11-25/basic/utilities/cancellation#cancellation-flow", "Either side can cancel.", era="handshake")
async def test_when_a_call_is_cancelled_so_is_what_it_asked_the_client(connect: Connect) -> None:
    asked, stopped = anyio.Event(), anyio.Event()

    async def elicit(context: Any, params: Any) -> ElicitResult:
        asked.set()
        try:
            await anyio.sleep_forever()
        finally:
            stopped.set()
        raise AssertionError

    async with connect(elicitation_callback=elicit) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.call_tool, "books", {"occasion": "lunch"})
        with anyio.fail_after(SOON):
            await asked.wait()
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await stopped.wait()


@requirement("DESIGN section 3", "A client may call while it is asked.", era="handshake")
async def test_a_client_calls_a_tool_while_it_is_asked_by_another(connect: Connect) -> None:
    async def elicit(context: Any, params: Any) -> ElicitResult:
        result = await context.session.call_tool("echo", {"text": "nested"})
        return ElicitResult(action="accept", content={"name": result.structured_content["result"]})

    async with connect(elicitation_callback=elicit) as client:
        result = await client.call_tool("books", {"occasion": "lunch"})
    assert result.structured_content == {"action": "accept", "data": {"name": "nested", "seats": 2}}


@requirement("2025-11-25/client/roots#root-list-changes", "Clients MUST send a notification.", era="handshake")
async def test_a_server_that_hears_that_the_roots_have_changed_asks_for_them(connect: Connect, tmp_path: Path) -> None:
    mark = tmp_path / "root"

    async def roots(context: Any) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri=mark.as_uri(), name="changed")])

    async with connect(LOWLEVEL, list_roots_callback=roots) as client:
        await client.send_roots_list_changed()
        assert await until(mark) == "changed"


@requirement("2025-11-25/client/elicitation", "Elicitation may occur several times in one call.", era="handshake")
async def test_a_tool_asks_several_times_and_reports_between(connect: Connect) -> None:
    user, heard = User(), Progress()
    async with connect(**user.callbacks) as client:
        result = await client.call_tool("converses", {"turns": 3}, progress_callback=heard)
        assert heard.steps == [1, 2, 3]
    assert result.structured_content == {"result": ["Ada"] * 3}
    assert [params.message for params in user.asked] == ["turn 0", "turn 1", "turn 2"]


@requirement("DESIGN section 6", "The client's answer comes back to the very process that waits.", era="handshake")
async def test_each_of_several_clients_is_asked_what_is_meant_for_it(connect: Connect) -> None:
    answers: dict[str, object] = {}

    async def use(name: str) -> None:
        async with connect(**User(name).callbacks) as client:
            answers[name] = (await client.call_tool("converses", {"turns": 2})).structured_content

    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as tasks:
            for name in ("Ada", "Bob", "Eve"):
                tasks.start_soon(use, name)
    assert answers == {name: {"result": [name] * 2} for name in ("Ada", "Bob", "Eve")}


@requirement("2025-11-25/client/elicitation#form-mode-elicitation-requests", "elicitation/create.", era="handshake")
async def test_a_low_level_server_asks_as_well(connect: Connect) -> None:
    async with connect(LOWLEVEL, **User().callbacks) as client:
        assert text_of(await client.call_tool("confirm", {})) == "accept {'ok': True}"
