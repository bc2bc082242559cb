"""Errors: a tool's own are results, the protocol's are JSON-RPC errors, and a server's secrets are in neither."""

from __future__ import annotations

import anyio
import mcp_types as types
import pytest
from mcp import MCPError

from tests.interaction.connect import SOON, Connect
from tests.interaction.servers import LOWLEVEL
from tests.interaction.spec import requirement, runs_on
from tests.interaction.user import text_of

pytestmark = pytest.mark.anyio

REPLY_TOO_LARGE = -32014


@requirement("2026-07-28/server/tools#error-handling", "Tool execution errors are reported in results with isError.")
async def test_what_a_tool_says_about_its_failure_reaches_the_model(connect: Connect) -> None:
    async with connect() as client:
        result = await client.call_tool("refuses", {"reason": "sold out"})
    assert result.is_error
    assert "sold out" in text_of(result)


@requirement("sdk", "What a tool did not mean to raise is told without its text.")
async def test_a_crash_in_a_tool_is_told_without_its_secrets(connect: Connect) -> None:
    async with connect() as client:
        result = await client.call_tool("crashes", {"secret": "s3cret"})
    assert result.is_error
    assert text_of(result) == "Error executing tool crashes"


@requirement("2026-07-28/server/tools#error-handling", "Input validation errors are tool execution errors.")
async def test_arguments_that_do_not_fit_the_schema_are_an_error_that_names_the_field(connect: Connect) -> None:
    async with connect() as client:
        result = await client.call_tool("add", {"a": "many", "b": 2})
    assert result.is_error
    assert "a\n" in text_of(result)
    assert "integer" in text_of(result)


@requirement("sdk", "An unknown tool of an MCPServer is a result with isError that names it.")
async def test_an_unknown_tool_is_told(connect: Connect) -> None:
    async with connect() as client:
        result = await client.call_tool("no_such_tool", {})
    assert result.is_error
    assert "no_such_tool" in text_of(result)


@requirement("2026-07-28/server/tools#error-handling", "Protocol errors: JSON-RPC errors for unknown tools: -32602.")
async def test_a_low_level_server_refuses_an_unknown_tool_as_it_likes(connect: Connect) -> None:
    async with connect(LOWLEVEL) as client:
        with pytest.raises(MCPError, match="Unknown tool: no_such_tool") as caught:
            await client.call_tool("no_such_tool", {})
    assert caught.value.error.code == types.INVALID_PARAMS


@requirement("2026-07-28/basic/index#error-responses", "Errors have an integer code, a message, data of any type.")
async def test_an_error_with_code_and_data_arrives_as_it_was_raised(connect: Connect) -> None:
    async with connect() as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("protocol_error", {"code": -30007, "message": "not today ✓"})
    error = caught.value.error
    assert (error.code, error.message, error.data) == (-30007, "not today ✓", {"why": ["weekend", 1, None]})


@requirement("2026-07-28/basic/index#meta", "A missing capability MUST be answered with -32021 and its name.")
async def test_a_capability_that_a_tool_needs_is_named(connect: Connect) -> None:
    async with connect() as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("needs_sampling", {})
    assert caught.value.error.code == types.MISSING_REQUIRED_CLIENT_CAPABILITY
    assert caught.value.error.data == {"requiredCapabilities": {"sampling": {}}}


@requirement("2026-07-28/basic/index#error-codes", "MCP uses the standard JSON-RPC codes: -32603 for internal errors.")
@runs_on("the SDK's own stream loop answers what a handler raises with code 0", hosts=("single", "fleet"))
async def test_a_crash_of_a_low_level_handler_is_an_internal_error_without_its_secrets(connect: Connect) -> None:
    async with connect(LOWLEVEL) as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("boom", {})
    assert caught.value.error.code == types.INTERNAL_ERROR
    assert "s3cret" not in repr(caught.value.error)


@requirement("2026-07-28/basic/index#error-codes", "MCP uses the standard JSON-RPC codes: -32602 for invalid params.")
async def test_malformed_params_are_refused(connect: Connect) -> None:
    request = types.Request[dict[str, object], str](method="tools/call", params={"name": 7})
    async with connect() as client:
        with pytest.raises(MCPError) as caught:
            await client.session.send_request(request, types.CallToolResult)
    assert caught.value.error.code == types.INVALID_PARAMS


@requirement("DESIGN section 3", "Too large a reply: the caller still gets an error, never silence.")
@runs_on("the SDK's own transport has no limit", hosts=("single", "fleet"))
@pytest.mark.parametrize("size", [200_000, 700_000])
async def test_an_answer_arrives_or_is_told_to_be_too_large(connect: Connect, size: int) -> None:
    """It is twice in the result: as text and as structured content. 400 kB is more than some queues take."""
    async with connect(read_timeout_seconds=8) as client:
        with anyio.fail_after(SOON):
            try:
                result = await client.call_tool("large", {"size": size})
            except MCPError as error:
                assert error.error.code == REPLY_TOO_LARGE
                assert connect.place.broker == "sqs" or size == 700_000
            else:
                assert result.structured_content == {"result": "x" * size}
        assert (await client.call_tool("echo", {"text": "after"})).structured_content == {"result": "after"}
