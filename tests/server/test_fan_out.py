"""What a server publishes on its subscription bus goes to the exchange, whoever publishes it and how."""

from __future__ import annotations

import functools
from concurrent.futures import Future
from typing import Any

import pytest
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated, ToolsListChanged

from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.errors import BrokerUnreachable
from asyncmcp_kombu.server.dispatch import dispatch
from asyncmcp_kombu.server.fan_out import FanOutBus, envelope_of, fan_out, subscriptions_of
from asyncmcp_kombu.server.lowlevel import lowlevel_of
from asyncmcp_kombu.server.replies import Replies
from tests.server.recording import Recording, request, serving

pytestmark = pytest.mark.anyio


class Exchange:
    def __init__(self, error: Exception | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self._error = error

    def __call__(self, envelope: Envelope) -> Future[None]:
        done: Future[None] = Future()
        if self._error is not None:
            done.set_exception(self._error)
        else:
            self.events.append(dict(envelope.message))
            done.set_result(None)
        return done


def test_an_event_travels_as_its_notification_for_everyone():
    envelope = envelope_of(ResourceUpdated("note://1"))
    assert envelope.message == {
        "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "note://1"},
    }  # fmt: skip
    assert envelope.headers()["Audience"] == "*"
    assert envelope_of(ToolsListChanged()).message == {
        "jsonrpc": "2.0", "method": "notifications/tools/list_changed",
    }  # fmt: skip


async def test_a_tools_own_context_publishes_to_the_exchange():
    server, exchange = MCPServer("s"), Exchange()
    own = subscriptions_of(lowlevel_of(server))
    with fan_out(server, lowlevel_of(server), exchange) as fans_out:
        assert fans_out
        context: Any = server.get_context() if hasattr(server, "get_context") else None
        bus = subscriptions_of(lowlevel_of(server))
        assert isinstance(bus, FanOutBus)
        await bus.publish(ToolsListChanged())
        assert context is None or context
    assert [event["method"] for event in exchange.events] == ["notifications/tools/list_changed"]
    assert subscriptions_of(lowlevel_of(server)) is own


async def test_a_bus_that_the_author_holds_publishes_to_the_exchange_too():
    bus, exchange = InMemorySubscriptionBus(), Exchange()
    server: Server[Any] = Server("s", on_subscriptions_listen=ListenHandler(bus))
    with fan_out(server, server, exchange):
        await bus.publish(ToolsListChanged())
    await bus.publish(ToolsListChanged())
    assert len(exchange.events) == 1


async def test_what_was_put_around_the_listen_handler_as_tasks_do_does_not_hide_it():
    bus, exchange = InMemorySubscriptionBus(), Exchange()
    listening = ListenHandler(bus)

    @functools.wraps(listening, updated=())
    async def around(ctx: Any, params: Any) -> Any:
        return await listening(ctx, params)

    server: Server[Any] = Server("s", on_subscriptions_listen=around)
    with fan_out(server, server, exchange) as fans_out:
        assert fans_out
        await bus.publish(ToolsListChanged())
    assert len(exchange.events) == 1


async def test_the_publisher_learns_that_an_event_was_not_accepted():
    with pytest.raises(BrokerUnreachable):
        await FanOutBus(Exchange(BrokerUnreachable("away"))).publish(ToolsListChanged())


async def test_a_bus_over_another_backend_is_left_alone():
    class Other:
        async def publish(self, event: Any) -> None: ...

        def subscribe(self, listener: Any) -> Any:
            return lambda: None

    server = MCPServer("s", subscriptions=Other())
    with fan_out(server, lowlevel_of(server), Exchange()) as fans_out:
        assert not fans_out


@pytest.mark.parametrize("server", [Server("s"), MCPServer("s", subscriptions=False)], ids=["lowlevel", "off"])
async def test_a_server_without_subscriptions_stays_without(server: Any):
    with fan_out(server, lowlevel_of(server), Exchange()) as fans_out:
        assert not fans_out


async def test_a_subscription_is_acknowledged_and_then_occupies_nobody():
    server, publish = MCPServer("s"), Recording()
    incoming = request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    with fan_out(server, lowlevel_of(server), Exchange()) as fans_out:
        one = serving(lowlevel_of(server), {}, publish, fans_out=fans_out)
        assert await dispatch(one, incoming, Replies(incoming, publish)) is None
    (acknowledged,) = publish.messages
    assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
    assert acknowledged["params"]["notifications"] == {"toolsListChanged": True}
