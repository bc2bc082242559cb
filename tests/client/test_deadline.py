"""The deadline of a call travels with its message; a guard for the SDK's private names behind it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextvars import ContextVar

import anyio
import pytest
from mcp import Client
from mcp.shared import _request_clock
from mcp.shared.exceptions import MCPError
from pydantic import SecretStr

from asyncmcp_kombu import kombu_client
from asyncmcp_kombu.client.deadline import current_deadline
from asyncmcp_kombu.settings import Settings
from tests.client.responder import SOON, Responder
from tests.services import MEMORY_URL, cleanup_queues

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(prefix: str) -> Settings:
    return Settings(broker_url=SecretStr(MEMORY_URL), server="echo", prefix=prefix)


@pytest.fixture
def silent(settings: Settings) -> Iterator[Responder]:
    """A server that takes requests and answers none."""
    with Responder(settings, answer=lambda request, replies: None) as responder:
        yield responder
    cleanup_queues(MEMORY_URL, settings.prefix)


async def test_the_sdk_keeps_the_clock_in_a_context_variable():
    assert isinstance(_request_clock._clock, ContextVar)
    assert _request_clock.RequestClock(5.0, anyio.CancelScope())._budget == 5.0


def test_outside_a_request_there_is_no_deadline():
    assert current_deadline() is None


async def test_a_request_with_a_timeout_expires_when_its_caller_gives_up():
    with _request_clock.request_clock(30.0):
        assert current_deadline() == pytest.approx(time.time() + 30, abs=1)


async def test_a_request_without_a_timeout_never_expires():
    with _request_clock.request_clock(None):
        assert current_deadline() is None


async def test_the_timeout_of_a_call_is_the_deadline_on_the_wire(settings: Settings, silent: Responder):
    async with Client(kombu_client(settings=settings), mode="2026-07-28") as client:
        sent_at = time.time()
        with anyio.fail_after(SOON), pytest.raises(MCPError):
            await client.call_tool("slow", {}, read_timeout_seconds=0.5)
    request = silent.requests.get(timeout=SOON)
    assert request.method == "tools/call"
    assert request.expires_at == pytest.approx(sent_at + 0.5, abs=0.4)
    assert request.protocol_version == "2026-07-28"


async def test_a_call_without_a_timeout_has_no_deadline_on_the_wire(settings: Settings, silent: Responder):
    async with Client(kombu_client(settings=settings), mode="2026-07-28") as client:
        with anyio.move_on_after(0.3):
            await client.call_tool("slow", {})
    assert silent.requests.get(timeout=SOON).expires_at is None
