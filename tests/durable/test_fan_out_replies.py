"""Replies by fan-out: who subscribes with the client's id hears what the client hears, and nothing of others."""

from __future__ import annotations

import secrets
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types.jsonrpc import JSONRPCNotification, JSONRPCResponse

from asyncmcp_kombu import Settings, kombu_audience, kombu_client
from asyncmcp_kombu.client.audience import Audience, AudienceMessage
from asyncmcp_kombu.errors import ConfigurationError
from tests import services
from tests.durable.conftest import SOON, Steps, client, keyed, served
from tests.fleet.conftest import Fleet

pytestmark = pytest.mark.anyio


def new_id() -> str:
    return f"audited-{secrets.token_hex(8)}"


async def heard_until_the_response(messages: Audience, key: str) -> list[AudienceMessage]:
    """What belongs to the request of that key; in the order of `sequence`, for SNS promises none."""
    heard: dict[int, AudienceMessage] = {}
    with anyio.fail_after(SOON):
        async for message in messages:
            if message.key == key and message.sequence is not None:
                heard[message.sequence] = message
            last = max((n for n, one in heard.items() if isinstance(one.message, JSONRPCResponse)), default=None)
            if last is not None and heard.keys() >= set(range(last + 1)):
                break
    return [heard[n] for n in sorted(heard)]


async def test_an_auditor_hears_what_the_client_hears_and_nothing_of_others(fleet: Fleet) -> None:
    audited, other = new_id(), new_id()
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async with (
        kombu_audience(settings=fleet.settings, client_id=audited) as messages,
        kombu_audience(settings=fleet.settings, client_id=other) as messages_of_the_other,
        client(fleet.settings, client_id=audited, replies="fanout") as one,
        client(fleet.settings, client_id=other, replies="fanout") as another,
        client(fleet.settings) as ordinary,
    ):
        result = await one.call_tool("progress", {"steps": 3}, progress_callback=on_progress, meta=keyed("job-1"))
        foreign = await another.call_tool("add", {"a": 1, "b": 2}, meta=keyed("job-1"))
        await ordinary.call_tool("add", {"a": 2, "b": 2}, meta=keyed("job-1"))
        heard = await heard_until_the_response(messages, "job-1")
        heard_of_the_other = await heard_until_the_response(messages_of_the_other, "job-1")
    *notifications, response = (one.message for one in heard)
    assert isinstance(response, JSONRPCResponse)
    assert response.result["content"] == [part.model_dump(mode="json", exclude_none=True) for part in result.content]
    assert [one.params["progress"] for one in notifications if isinstance(one, JSONRPCNotification) and one.params]
    assert len(notifications) == len(seen)
    (only,) = heard_of_the_other
    assert isinstance(only.message, JSONRPCResponse)
    assert only.message.result["structuredContent"] == foreign.structured_content == {"result": 3}


@pytest.mark.parametrize("settings", ["rabbitmq", "redis", "memory"], indirect=True)
async def test_on_a_server_of_one_process_too_and_nothing_is_left(settings: Settings) -> None:
    audited = new_id()
    steps = Steps()
    steps.go_on.set()
    async with (
        served(settings, steps),
        kombu_audience(settings=settings, client_id=audited) as messages,
        client(settings, client_id=audited, replies="fanout") as one,
    ):
        result = await one.call_tool("step", {"text": "shared"}, meta=keyed("job-1"))
        assert result.structured_content == {"result": "shared"}
        assert len(await heard_until_the_response(messages, "job-1")) >= 1
    url = settings.broker_url.get_secret_value()
    assert [name for name in services.queues_on(url, [settings.prefix]) if "-reply-" in name] == []


@pytest.mark.parametrize("settings", ["memory"], indirect=True)
async def test_a_generated_id_is_known_and_unguessable(settings: Settings) -> None:
    transport = kombu_client(settings=settings, replies="fanout")
    async with (
        served(settings, Steps()),
        kombu_audience(settings=settings, client_id=transport.client_id) as messages,
        Client(transport, read_timeout_seconds=SOON) as one,
    ):
        await one.call_tool("echo", {"text": "a"})
        with anyio.fail_after(SOON):
            assert (await anext(messages)).key is None
    assert len(transport.client_id) == 32


@pytest.mark.parametrize("settings", ["sqs"], indirect=True)
async def test_events_still_come_and_what_is_too_large_for_a_topic_is_an_error(settings: Settings) -> None:
    async with served(settings, Steps()), client(settings, client_id=new_id(), replies="fanout") as one:
        with anyio.fail_after(SOON):
            async with one.listen(resource_subscriptions=["note://a"]) as events:
                await one.call_tool("tell", {"uri": "note://a"})
                assert "note://a" in str(await anext(events))
        with pytest.raises(MCPError, match=r"SNS topic.*262,144") as caught:
            await one.call_tool("large", {"size": 300_000})
        assert caught.value.error.code == -32014
        assert (await one.call_tool("echo", {"text": "on"})).structured_content == {"result": "on"}


@pytest.mark.parametrize("settings", ["redis"], indirect=True)
async def test_a_named_audience_misses_nothing_while_it_is_away(settings: Settings) -> None:
    audited = new_id()
    durable = f"{settings.prefix}echo-reply-durable-audience-log"
    services.remember(durable)
    try:
        async with served(settings, Steps()), client(settings, client_id=audited, replies="fanout") as one:
            async with kombu_audience(settings=settings, client_id=audited, name="log"):
                pass
            await one.call_tool("echo", {"text": "meanwhile"}, meta=keyed("job-1"))
            async with kombu_audience(settings=settings, client_id=audited, name="log") as messages:
                (heard,) = await heard_until_the_response(messages, "job-1")
        assert "meanwhile" in str(heard.message)
    finally:
        services.cleanup_queues(settings.broker_url.get_secret_value(), settings.prefix, replies=True)


@pytest.mark.parametrize("wrong", [{"replies": "topic"}, {"client_id": "*"}, {"client_id": "a b"}, {"durable": True}])
def test_what_cannot_be_is_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        kombu_client(services.MEMORY_URL, **wrong)
