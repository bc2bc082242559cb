"""Change notifications: subscriptions/listen, and before 2026-07-28 resources/subscribe and list_changed."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp.client.subscriptions import Subscription
from mcp.server.subscriptions import PromptsListChanged, ResourcesListChanged, ResourceUpdated, ToolsListChanged

from tests.interaction.connect import SOON, Connect
from tests.interaction.heard import Heard
from tests.interaction.servers import LOWLEVEL
from tests.interaction.spec import requirement, runs_on

pytestmark = pytest.mark.anyio

SHARED = runs_on("the SDK's own transport has a server for each client", hosts=("single", "fleet"))


async def heard_by(subscription: Subscription, last: Any) -> set[Any]:
    """Everything up to the event after which nothing is expected."""
    events: set[Any] = set()
    with anyio.fail_after(SOON):
        async for event in subscription:
            events.add(event)
            if event == last:
                break
    return events


@requirement(
    "2026-07-28/basic/patterns/subscriptions#acknowledgment",
    "The first message acknowledges, with the subset that the server agreed to honor.",
    era="2026",
)
async def test_a_subscription_is_acknowledged(connect: Connect) -> None:
    async with connect() as client:
        with anyio.fail_after(SOON):
            async with client.listen(tools_list_changed=True, resource_subscriptions=["note://static"]) as events:
                honored = events.honored
    assert (honored.tools_list_changed, honored.resource_subscriptions) == (True, ["note://static"])
    assert not honored.prompts_list_changed


@requirement(
    "2026-07-28/basic/patterns/subscriptions#receiving-notifications",
    "Notifications carry the id of the subscription, and tell of lists and resources.",
    era="2026",
)
async def test_every_kind_of_change_is_heard(connect: Connect) -> None:
    wanted = {"tools_list_changed": True, "prompts_list_changed": True, "resources_list_changed": True}
    async with connect() as client, client.listen(**wanted, resource_subscriptions=["note://a"]) as events:
        await client.call_tool("publishes", {"what": ["tools", "prompts", "resources", "note://a"]})
        heard: set[Any] = set()
        with anyio.fail_after(SOON):
            while len(heard) < 4:
                heard.add(await anext(events))
    assert heard == {ToolsListChanged(), PromptsListChanged(), ResourcesListChanged(), ResourceUpdated(uri="note://a")}


@requirement(
    "2026-07-28/basic/patterns/subscriptions#opening-a-stream",
    "The server MUST NOT send notification types the client has not explicitly requested.",
    era="2026",
)
async def test_only_what_was_asked_for_is_sent(connect: Connect) -> None:
    heard: Heard[Any] = Heard()  # what the SDK's client gets, before it filters by itself
    async with connect(message_handler=heard) as client:
        async with client.listen(prompts_list_changed=True, resource_subscriptions=["note://a"]) as events:
            await client.call_tool("publishes", {"what": ["tools", "note://b", "resources", "note://a"]})
            await heard_by(events, ResourceUpdated(uri="note://a"))
            await client.call_tool("publishes", {"what": ["prompts"]})
            assert await heard_by(events, PromptsListChanged()) == {PromptsListChanged()}
            await heard.until_there_are(2)
    assert {type(one) for one in heard.all} == {
        types.ResourceUpdatedNotification,
        types.PromptListChangedNotification,
    }
    assert "note://b" not in repr(heard.all)


@requirement(
    "2026-07-28/basic/patterns/subscriptions#multiple-concurrent-subscriptions",
    "A client MAY have multiple active subscriptions concurrently.",
    era="2026",
)
async def test_two_subscriptions_of_one_client_are_kept_apart(connect: Connect) -> None:
    async with connect() as client, client.listen(tools_list_changed=True) as tools:
        async with client.listen(prompts_list_changed=True) as prompts:
            await client.call_tool("publishes", {"what": ["prompts", "tools"]})
            assert await heard_by(tools, ToolsListChanged()) == {ToolsListChanged()}
            assert await heard_by(prompts, PromptsListChanged()) == {PromptsListChanged()}
        await client.call_tool("publishes", {"what": ["prompts", "tools"]})  # the other one goes on
        assert await heard_by(tools, ToolsListChanged()) == {ToolsListChanged()}


@SHARED
@requirement("DESIGN section 3", "Change notifications reach every client that listens, whoever publishes.", era="2026")
async def test_what_one_client_causes_is_heard_by_the_others(connect: Connect) -> None:
    async with connect() as one, connect(max_message_bytes=1_000_000) as two, connect() as speaker:
        async with one.listen(tools_list_changed=True) as first, two.listen(tools_list_changed=True) as second:
            await speaker.call_tool("publishes", {"what": ["tools"]})
            for events in (first, second):
                assert await heard_by(events, ToolsListChanged()) == {ToolsListChanged()}


@requirement("sdk", "A low-level server publishes on a bus of its author's.", era="2026")
async def test_a_low_level_server_is_heard_as_well(connect: Connect) -> None:
    async with connect(LOWLEVEL) as client, client.listen(resource_subscriptions=["page://1"]) as events:
        await client.call_tool("publish", {"uri": "page://1"})
        assert await heard_by(events, ResourceUpdated(uri="page://1")) == {ResourceUpdated(uri="page://1")}


@requirement("DESIGN section 3", "A subscription occupies no worker.", era="2026")
async def test_many_subscriptions_leave_room_for_calls(connect: Connect) -> None:
    async with connect() as client, AsyncExitStack() as stack:
        uris = [f"note://{n}" for n in range(8)]
        events = [await stack.enter_async_context(client.listen(resource_subscriptions=[uri])) for uri in uris]
        await client.call_tool("publishes", {"what": uris})
        for subscription, uri in zip(events, uris, strict=True):
            assert await heard_by(subscription, ResourceUpdated(uri=uri)) == {ResourceUpdated(uri=uri)}


@requirement("2026-07-28/server/utilities/caching#interaction-with-notifications", "They invalidate.", era="2026")
async def test_a_change_invalidates_what_the_client_keeps(connect: Connect) -> None:
    async with connect() as client, client.listen(tools_list_changed=True) as events:
        kept = await client.list_tools()
        await client.call_tool("publishes", {"what": ["tools"]})
        await heard_by(events, ToolsListChanged())
        assert (await client.list_tools()).tools == kept.tools  # asked for again: nothing else could be seen


@SHARED
@requirement("2025-11-25/server/resources#subscriptions", "Clients can subscribe to resources.", era="handshake")
async def test_a_subscriber_hears_of_its_resource_until_it_unsubscribes(connect: Connect) -> None:
    heard, deaf = Heard[Any](), Heard[Any]()
    async with (
        connect(LOWLEVEL, message_handler=heard) as client,
        connect(LOWLEVEL, message_handler=deaf),
        connect(LOWLEVEL) as speaker,
    ):
        await client.subscribe_resource("page://1")
        await client.subscribe_resource("page://2")
        await speaker.call_tool("publish", {"uri": "page://3"})
        await speaker.call_tool("publish", {"uri": "page://1"})
        await heard.until_there_are(1)
        await client.unsubscribe_resource("page://1")
        await speaker.call_tool("publish", {"uri": "page://1"})
        await speaker.call_tool("publish", {"uri": "page://2"})
        await heard.until(lambda all_: any("page://2" in repr(one) for one in all_))
    assert [type(one) for one in heard.all] == [types.ResourceUpdatedNotification] * 2
    assert [str(one.params.uri) for one in heard.all] == ["page://1", "page://2"]
    assert deaf.all == []


@requirement("2025-11-25/server/tools#list-changed-notification", "Servers SHOULD notify.", era="handshake")
async def test_before_2026_07_28_a_tool_tells_its_caller_that_lists_have_changed(connect: Connect) -> None:
    heard: Heard[Any] = Heard()
    async with connect(message_handler=heard) as client:
        await client.call_tool("tells_caller", {})
        await heard.until_there_are(4)
    assert {type(one) for one in heard.all} == {
        types.ToolListChangedNotification,
        types.PromptListChangedNotification,
        types.ResourceListChangedNotification,
        types.ResourceUpdatedNotification,
    }


@requirement("2025-11-25/basic/lifecycle#operation", "Either side sends notifications at any time.", era="handshake")
async def test_before_2026_07_28_a_server_tells_a_client_something_when_no_request_is_under_way(
    connect: Connect,
) -> None:
    heard: Heard[Any] = Heard()
    async with connect(message_handler=heard) as client:
        assert (await client.call_tool("tells_caller_later", {})).structured_content == {"result": "later"}
        (notification,) = await heard.until_there_are(1)
    assert isinstance(notification, types.ToolListChangedNotification)
