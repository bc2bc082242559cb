"""resources/list, resources/templates/list and resources/read."""

from __future__ import annotations

import base64

import mcp_types as types
import pytest
from mcp import MCPError
from mcp_types import BlobResourceContents, TextResourceContents

from tests.interaction.connect import Connect
from tests.interaction.servers import LOWLEVEL
from tests.interaction.servers.media import DIFFICULT, PNG
from tests.interaction.spec import requirement

pytestmark = pytest.mark.anyio


@requirement("2026-07-28/server/resources#listing-resources", "Clients send resources/list to discover resources.")
@requirement("2026-07-28/server/resources#resource-templates", "Templates expose parameterized resources.")
async def test_resources_and_templates_are_listed(connect: Connect) -> None:
    async with connect() as client:
        resources = {str(one.uri) for one in (await client.list_resources()).resources}
        templates = {one.uri_template for one in (await client.list_resource_templates()).resource_templates}
    assert {"note://static", "image://pixel"} <= resources
    assert {"city://{country}/{city}", "locked://{name}"} <= templates


@requirement("2026-07-28/server/resources#reading-resources", "To retrieve contents, clients send resources/read.")
@requirement("2026-07-28/server/resources#resource-contents", "Resources can contain either text or binary data.")
async def test_text_and_binary_contents_are_read_whole(connect: Connect) -> None:
    async with connect() as client:
        (note,) = (await client.read_resource("note://static")).contents
        (image,) = (await client.read_resource("image://pixel")).contents
    assert isinstance(note, TextResourceContents)
    assert (note.text, note.mime_type, str(note.uri)) == (DIFFICULT, "text/markdown", "note://static")
    assert isinstance(image, BlobResourceContents)
    assert base64.b64decode(image.blob) == PNG


@requirement("2026-07-28/server/resources#resource-templates", "URI templates are expanded with the client's values.")
async def test_a_template_is_read_with_the_values_in_the_uri(connect: Connect) -> None:
    async with connect() as client:
        (city,) = (await client.read_resource("city://it/Rome")).contents
    assert isinstance(city, TextResourceContents)
    assert city.text == "Rome (it), for request True"


@requirement("2026-07-28/server/resources#reading-resources", "A low-level server's handler gets the URI.")
async def test_a_low_level_server_is_read_as_well(connect: Connect) -> None:
    async with connect(LOWLEVEL) as client:
        (page,) = (await client.read_resource("page://2")).contents
    assert isinstance(page, TextResourceContents)
    assert page.text == "content of page://2"


@requirement("2026-07-28/server/resources#error-handling", "Resource not found: -32602; internal errors: -32603.")
@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("nothing://there", types.INVALID_PARAMS),
        ("city://it/Paris", types.INVALID_PARAMS),
        ("city://xx/any", types.INTERNAL_ERROR),
    ],
    ids=["unknown", "not found by the template", "failed"],
)
async def test_a_resource_that_cannot_be_read_is_a_protocol_error_that_names_it(
    connect: Connect, uri: str, code: int
) -> None:
    async with connect() as client:
        with pytest.raises(MCPError) as caught:
            await client.read_resource(uri)
    assert caught.value.error.code == code
    assert caught.value.error.data == {"uri": uri}
