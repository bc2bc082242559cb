"""completion/complete."""

from __future__ import annotations

import mcp_types as types
import pytest
from mcp import MCPError
from mcp_types import PromptReference, ResourceTemplateReference

from tests.interaction.connect import Connect
from tests.interaction.servers import LOWLEVEL
from tests.interaction.spec import requirement

pytestmark = pytest.mark.anyio

CITY = ResourceTemplateReference(uri="city://{country}/{city}")


@requirement("2026-07-28/server/utilities/completion#requesting-completions", "Clients send completion/complete.")
async def test_an_argument_of_a_prompt_is_completed(connect: Connect) -> None:
    async with connect() as client:
        result = await client.complete(PromptReference(name="compare"), {"name": "first", "value": "Ma"})
    assert (result.completion.values, result.completion.total, result.completion.has_more) == (["Marseille"], 1, False)


@requirement("2025-11-25/server/utilities/completion#requesting-completions", "Include arguments resolved before.")
async def test_a_template_is_completed_with_what_was_chosen_before(connect: Connect) -> None:
    async with connect() as client:
        everywhere = await client.complete(CITY, {"name": "city", "value": ""})
        in_italy = await client.complete(CITY, {"name": "city", "value": ""}, {"country": "it"})
    assert set(everywhere.completion.values) == {"milan", "rome", "marseille", "paris"}
    assert set(in_italy.completion.values) == {"milan", "rome"}


@requirement("2026-07-28/server/utilities/completion#error-handling", "Method not found: capability not supported.")
async def test_a_server_without_completion_says_so(connect: Connect) -> None:
    async with connect(LOWLEVEL) as client:
        with pytest.raises(MCPError) as caught:
            await client.complete(CITY, {"name": "city", "value": ""})
    assert caught.value.error.code == types.METHOD_NOT_FOUND
