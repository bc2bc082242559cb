"""What a server says about its tools, prompts, resources and answers; and `_meta`, which is nobody's business."""

from __future__ import annotations

from typing import Any

import pytest
from mcp_types import Annotations, ToolAnnotations

from tests.interaction.connect import Connect
from tests.interaction.servers.media import ICON
from tests.interaction.spec import requirement

pytestmark = pytest.mark.anyio

TRACE = {
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
    "tracestate": "vendor=abc,other=1",
    "baggage": "user=ada,plan=pro%20plus",
}


@requirement("2026-07-28/server/tools#tool", "A tool has title, icons, and annotations describing its behavior.")
async def test_a_tools_title_annotations_icons_and_meta_arrive(connect: Connect) -> None:
    async with connect() as client:
        add = next(tool for tool in (await client.list_tools()).tools if tool.name == "add")
    assert add.title == "Add"
    assert add.icons == [ICON]
    assert add.meta == {"com.example/cost": 3}
    assert add.annotations == ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)


@requirement("2026-07-28/server/resources#annotations", "Resources support audience, priority and lastModified.")
async def test_a_resources_title_annotations_icons_and_meta_arrive(connect: Connect) -> None:
    async with connect() as client:
        note = next(one for one in (await client.list_resources()).resources if one.name == "static")
        city = next(one for one in (await client.list_resource_templates()).resource_templates if one.name == "city")
    assert (note.title, note.mime_type, city.title) == ("A note", "text/markdown", "A city")
    assert note.icons == [ICON]
    assert note.meta == {"com.example/pages": 1}
    assert note.annotations == Annotations(audience=["user"], priority=0.5)


@requirement("2026-07-28/server/prompts#prompt", "A prompt has a title and icons for display.")
async def test_a_prompts_title_and_icons_arrive(connect: Connect) -> None:
    async with connect() as client:
        compare = next(one for one in (await client.list_prompts()).prompts if one.name == "compare")
    assert (compare.title, compare.icons) == ("Compare", [ICON])


@requirement("2026-07-28/server/utilities/caching#cacheable-model", "ttlMs and cacheScope hint at caching.", era="2026")
async def test_caching_hints_arrive_and_spare_the_server_a_request(connect: Connect) -> None:
    async with connect() as client:
        tools, prompts = await client.list_tools(), await client.list_prompts()
        note = await client.read_resource("note://static")
        again = await client.list_tools()
    assert (tools.ttl_ms, tools.cache_scope) == (60_000, "public")
    assert (note.ttl_ms, note.cache_scope) == (5_000, "private")
    assert (prompts.ttl_ms, prompts.cache_scope) == (0, "private")
    assert again == tools


@requirement("2025-11-25/server/tools#listing-tools", "A result has tools and nextCursor.", era="handshake")
async def test_before_2026_07_28_there_are_no_caching_hints(connect: Connect) -> None:
    async with connect() as client:
        tools = await client.list_tools()
    assert {"ttl_ms", "cache_scope"}.isdisjoint(tools.model_fields_set)


@requirement("2026-07-28/basic/index#meta", "traceparent, tracestate and baggage are OpenTelemetry's.")
@requirement("2025-11-25/basic/index#meta", "_meta lets clients and servers attach additional metadata.")
@pytest.mark.parametrize("meta", [TRACE, {"com.example/any": {"deep": [1, None, "ü✓"]}}], ids=["trace", "any"])
async def test_meta_passes_untouched_both_ways(connect: Connect, meta: dict[str, Any]) -> None:
    async with connect() as client:
        result = await client.call_tool("reflects_meta", {}, meta=dict(meta))
    seen = (result.structured_content or {})["meta"]
    assert {key: seen.get(key) for key in meta} == meta
    assert {key: (result.meta or {}).get(key) for key in meta} == meta


@requirement("2026-07-28/basic/index#meta", "Servers SHOULD identify themselves in every result's _meta.", era="2026")
async def test_every_result_says_which_server_it_is_from(connect: Connect) -> None:
    async with connect() as client:
        results = [
            await client.list_tools(),
            await client.call_tool("echo", {"text": "x"}),
            await client.list_prompts(),
        ]
    assert {(one.meta or {})["io.modelcontextprotocol/serverInfo"]["name"] for one in results} == {"testfleet"}
