"""tools/list and tools/call."""

from __future__ import annotations

import pytest
from mcp_types import AudioContent, EmbeddedResource, ImageContent, ResourceLink, TextContent

from tests.interaction.connect import Connect
from tests.interaction.servers import LOWLEVEL
from tests.interaction.servers.media import DIFFICULT
from tests.interaction.spec import requirement

pytestmark = pytest.mark.anyio


@requirement("2026-07-28/server/tools#listing-tools", "Clients send tools/list to discover tools and their schemas.")
@requirement("2026-07-28/server/tools#capabilities", "Servers SHOULD return tools in a deterministic order.")
async def test_tools_are_listed_with_their_schemas_and_in_the_same_order_each_time(connect: Connect) -> None:
    async with connect() as client:
        first, second = [(await client.list_tools(cache_mode="bypass")).tools for _ in range(2)]
    assert [tool.name for tool in first] == [tool.name for tool in second]
    add = next(tool for tool in first if tool.name == "add")
    assert add.description == "Add two numbers."
    assert add.input_schema["required"] == ["a", "b"]
    assert add.input_schema["properties"]["b"] == {
        "description": "Second number", "minimum": 0, "title": "B", "type": "integer",
    }  # fmt: skip


@requirement("2026-07-28/server/tools#calling-tools", "To invoke a tool, clients send a tools/call request.")
async def test_arguments_reach_the_tool_and_its_answer_the_caller(connect: Connect) -> None:
    async with connect() as client:
        result = await client.call_tool("add", {"a": 40, "b": 2})
    assert not result.is_error
    assert result.content == [TextContent(text="42")]
    assert result.structured_content == {"result": 42}


@requirement("2026-07-28/server/tools#calling-tools", "A low-level server's handler gets the call as it was sent.")
async def test_a_low_level_server_is_called_as_well(connect: Connect) -> None:
    async with connect(LOWLEVEL) as client:
        result = await client.call_tool("shout", {"text": DIFFICULT})
    assert result.content == [TextContent(text=DIFFICULT.upper())]


@requirement("2026-07-28/basic/index#messages", "Messages are JSON-RPC 2.0, so UTF-8 JSON of any characters.")
@pytest.mark.parametrize("text", [DIFFICULT, "x" * 100_000], ids=["characters", "size"])
async def test_a_text_comes_back_as_it_was_sent(connect: Connect, text: str) -> None:
    async with connect() as client:
        assert (await client.call_tool("echo", {"text": text})).structured_content == {"result": text}


@requirement("2026-07-28/basic/index#messages", "Messages are JSON-RPC 2.0, so any JSON value is a parameter.")
async def test_json_of_every_kind_comes_back_as_it_was_sent(connect: Connect) -> None:
    data = {"null": None, "yes": True, "big": 2**53, "small": -1.5e-7, "deep": [[[{"a": [{}]}]]], "empty": "", "ü ✓": 0}
    async with connect() as client:
        result = await client.call_tool("mirrors", {"data": data})
    assert result.structured_content == data
    assert repr(result.structured_content) == repr(data)  # 1 is neither 1.0 nor true


@requirement("docs/tools.md", "The tool's name and arguments are the Celery task's.")
async def test_an_argument_may_have_any_name(connect: Connect) -> None:
    names = ("self", "task_id", "args", "kwargs", "request", "ctx", "task", "app", "__proto__", "with space", "")
    async with connect() as client:
        result = await client.call_tool("echo", {"text": "x", **dict.fromkeys(names, 1)})
    assert result.structured_content == {"result": "x"}


@requirement("2026-07-28/server/tools#structured-content", "Structured content is returned in structuredContent.")
@requirement("2026-07-28/server/tools#output-schema", "Servers MUST provide results that conform to the output schema.")
async def test_a_structured_answer_follows_the_output_schema_that_was_listed(connect: Connect) -> None:
    async with connect() as client:
        schemas = {tool.name: tool.output_schema or {} for tool in (await client.list_tools()).tools}
        result = await client.call_tool("weather", {"city": "Rome", "at": {"x": 1, "y": -2}})
    assert set(schemas["weather"]["properties"]) == {"city", "degrees", "where"}
    assert result.structured_content == {"city": "Rome", "degrees": 21.5, "where": {"x": -1, "y": 2}}


@requirement("2026-07-28/server/tools#tool-result", "A result can contain items of text, image, audio and resources.")
async def test_every_kind_of_content_arrives_whole(connect: Connect) -> None:
    async with connect() as client:
        text, image, audio, link, embedded = (await client.call_tool("all_kinds", {})).content
    assert isinstance(text, TextContent)
    assert isinstance(image, ImageContent)
    assert isinstance(audio, AudioContent)
    assert isinstance(link, ResourceLink)
    assert isinstance(embedded, EmbeddedResource)
    assert (image.mime_type, audio.mime_type) == ("image/png", "audio/wav")
    assert str(link.uri) == "note://static"
