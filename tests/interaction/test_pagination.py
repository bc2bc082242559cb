"""Lists in pages."""

from __future__ import annotations

import mcp_types as types
import pytest
from mcp import MCPError

from tests.interaction.connect import Connect
from tests.interaction.servers import LOWLEVEL
from tests.interaction.servers.low import CURSOR, TOOLS
from tests.interaction.spec import requirement

pytestmark = pytest.mark.anyio


@requirement("2026-07-28/server/utilities/pagination#pagination-model", "The cursor is an opaque string token.")
async def test_pages_follow_each_other_until_the_last_one_has_no_cursor(connect: Connect) -> None:
    cursors: list[str | None] = [None]
    names: list[str] = []
    async with connect(LOWLEVEL) as client:
        while len(cursors) < 10:
            page = await client.list_tools(cursor=cursors[-1])
            names += [tool.name for tool in page.tools if tool.name in TOOLS]
            if page.next_cursor is None:
                break
            cursors.append(page.next_cursor)
        resources = await client.list_resources()
        rest = await client.list_resources(cursor=resources.next_cursor)
    assert tuple(names) == TOOLS
    assert cursors == [None, CURSOR.format(page=1), CURSOR.format(page=2)]  # untouched, whatever is in them
    assert [one.name for one in (*resources.resources, *rest.resources)] == ["0", "1", "2", "3"]


@requirement("2026-07-28/server/utilities/pagination#error-handling", "Invalid cursors SHOULD result in -32602.")
async def test_an_invalid_cursor_is_an_error(connect: Connect) -> None:
    async with connect(LOWLEVEL) as client:
        with pytest.raises(MCPError) as caught:
            await client.list_tools(cursor="made up")
    assert caught.value.error.code == types.INVALID_PARAMS
    assert caught.value.error.data == {"cursor": "made up"}
