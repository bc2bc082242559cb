"""prompts/list and prompts/get."""

from __future__ import annotations

import mcp_types as types
import pytest
from mcp import MCPError
from mcp_types import EmbeddedResource, ImageContent, TextContent

from tests.interaction.connect import Connect
from tests.interaction.spec import requirement, runs_on

pytestmark = pytest.mark.anyio


@requirement("2026-07-28/server/prompts#listing-prompts", "Clients send prompts/list to retrieve available prompts.")
async def test_prompts_are_listed_with_their_arguments(connect: Connect) -> None:
    async with connect() as client:
        prompts = {prompt.name: prompt for prompt in (await client.list_prompts()).prompts}
    assert {"compare", "illustrated"} <= set(prompts)
    assert prompts["compare"].description == "Compare two things."
    arguments = {argument.name: argument.required for argument in prompts["compare"].arguments or []}
    assert arguments == {"first": True, "second": False}


@requirement("2026-07-28/server/prompts#getting-a-prompt", "To retrieve a prompt, clients send prompts/get.")
async def test_a_prompt_is_rendered_with_its_arguments_into_messages_with_roles(connect: Connect) -> None:
    async with connect() as client:
        messages = (await client.get_prompt("compare", {"first": "coffee"})).messages
    assert [(message.role, message.content) for message in messages] == [
        ("user", TextContent(text="Compare coffee with tea.")),
        ("assistant", TextContent(text="Gladly.")),
    ]


@requirement("2026-07-28/server/prompts#promptmessage", "Content can be text, an image, audio or a resource.")
async def test_a_prompt_carries_images_and_resources(connect: Connect) -> None:
    async with connect() as client:
        image, resource = (await client.get_prompt("illustrated", {"uri": "note://x"})).messages
    assert isinstance(image.content, ImageContent)
    assert isinstance(resource.content, EmbeddedResource)
    assert str(resource.content.resource.uri) == "note://x"


@requirement("2026-07-28/server/prompts#error-handling", "Servers SHOULD return standard JSON-RPC errors.")
@runs_on("the SDK's own stream loop answers what a handler raises with code 0", hosts=("single", "fleet"))
@pytest.mark.parametrize(
    ("name", "arguments"), [("no_such_prompt", {}), ("compare", {})], ids=["unknown", "missing argument"]
)
async def test_a_prompt_that_cannot_be_rendered_is_a_protocol_error(
    connect: Connect, name: str, arguments: dict[str, str]
) -> None:
    async with connect() as client:
        with pytest.raises(MCPError) as caught:
            await client.get_prompt(name, arguments)
    assert caught.value.error.code in (types.INVALID_PARAMS, types.INTERNAL_ERROR)
