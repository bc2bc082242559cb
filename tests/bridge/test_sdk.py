"""A guard for the SDK's private names behind `bridge/sdk.py`, and for what the bridge relies on beside them."""

from __future__ import annotations

import inspect
import time

import pytest
from mcp.server import _streamable_http_modern as modern
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.session import ServerSession
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared import _request_clock, _stream_protocols

from asyncmcp_kombu.bridge.sdk import connection_of, gives_up_after, request_channel
from asyncmcp_kombu.client.deadline import current_deadline

pytestmark = pytest.mark.anyio


async def test_a_session_keeps_its_two_ways_back() -> None:
    connection = Connection.from_envelope("2026-07-28", None, None)
    channel = object()
    session = ServerSession(channel, connection)  # type: ignore[arg-type]
    ctx = ServerRequestContext(session=session, lifespan_context={}, protocol_version="2026-07-28", method="x")
    assert request_channel(ctx) is channel
    assert connection_of(ctx) is connection


async def test_a_request_that_is_written_knows_when_it_is_given_up() -> None:
    with gives_up_after(30.0):
        assert current_deadline() == pytest.approx(time.time() + 30, abs=1)
    assert current_deadline() is None


def test_the_names_are_there() -> None:
    assert _request_clock.request_clock
    assert _stream_protocols.ReadStream
    assert _stream_protocols.WriteStream


def test_the_session_manager_asks_for_an_event_store_once_per_session() -> None:
    """Each session gets its own store because of that."""
    source = inspect.getsource(StreamableHTTPSessionManager)
    assert source.count("self.event_store") == 2  # set by __init__, read by _admit_session
    assert "event_store=self.event_store" in inspect.getsource(StreamableHTTPSessionManager._admit_session)  # pyright: ignore[reportPrivateUsage]


def test_the_check_of_headers_lists_tools_through_the_middleware_of_a_server_that_lists_tools() -> None:
    assert 'get_request_handler("tools/list")' in inspect.getsource(modern._mcp_param_rejection)  # pyright: ignore[reportPrivateUsage]
    assert "serve_one(" in inspect.getsource(modern._tool_input_schema)  # pyright: ignore[reportPrivateUsage]
    assert isinstance(Server("x").middleware, list)
