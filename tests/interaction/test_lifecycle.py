"""How a client and a server get to know each other: server/discover, or initialize; and ping."""

from __future__ import annotations

import anyio
import mcp_types as types
import pytest
from mcp import MCPError
from mcp_types import Implementation
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION

from tests.interaction.connect import Connect
from tests.interaction.servers import LOWLEVEL
from tests.interaction.servers.high import INSTRUCTIONS, TITLE, VERSION, WEBSITE
from tests.interaction.servers.media import ICON
from tests.interaction.spec import requirement, runs_on

pytestmark = pytest.mark.anyio

RAW = runs_on("the SDK's own transport is connected by its client only", hosts=("single", "fleet"))


@requirement("2026-07-28/server/discover", "A discovery result names versions, capabilities, identity, instructions.")
@requirement("2025-11-25/basic/lifecycle#initialization", "The server MUST respond with capabilities and information.")
async def test_a_client_learns_who_the_server_is(connect: Connect) -> None:
    async with connect() as client:
        info, capabilities = client.server_info, client.server_capabilities
        assert client.protocol_version == ("2026-07-28" if connect.era == "2026" else LATEST_HANDSHAKE_VERSION)
        assert client.instructions == INSTRUCTIONS
    assert info is not None
    assert (info.name, info.version, info.title, info.website_url) == ("testfleet", VERSION, TITLE, WEBSITE)
    assert info.icons == [ICON]
    assert None not in (capabilities.tools, capabilities.prompts, capabilities.resources, capabilities.completions)


@requirement("2025-11-25/basic/lifecycle#capability-negotiation", "Capabilities say which features are available.")
@requirement("2026-07-28/server/tools#capabilities", "Servers that support tools MUST declare the tools capability.")
async def test_a_server_declares_what_it_has_handlers_for_and_nothing_else(connect: Connect) -> None:
    async with connect(LOWLEVEL) as client:
        capabilities = client.server_capabilities
    assert capabilities.prompts is None
    assert capabilities.completions is None
    assert capabilities.tools is not None
    assert capabilities.resources is not None
    assert capabilities.resources.subscribe
    assert capabilities.tools.list_changed is (connect.era == "2026")  # before, nothing says that it tells


@RAW
@requirement(
    "2025-11-25/basic/lifecycle#version-negotiation",
    "If the server supports the requested protocol version, it MUST respond with the same version.",
    era="handshake",
)
@pytest.mark.parametrize("version", HANDSHAKE_PROTOCOL_VERSIONS)
async def test_every_handshake_version_is_agreed_on_and_served(connect: Connect, version: str) -> None:
    async with connect.session() as session:
        result = await session.send_request(_initialize(version), types.InitializeResult)
        assert result.protocol_version == version
        session.adopt(result)
        await session.send_notification(types.InitializedNotification())
        with anyio.fail_after(20):
            called = await session.call_tool("whoami")
    assert (called.structured_content or {})["protocol"] == version


@RAW
@requirement(
    "2025-11-25/basic/lifecycle#version-negotiation",
    "Otherwise, the server MUST respond with another version it supports: SHOULD be the latest.",
    era="handshake",
)
async def test_an_unknown_version_is_answered_with_the_newest_handshake_version(connect: Connect) -> None:
    async with connect.session() as session:
        result = await session.send_request(_initialize("1999-01-01"), types.InitializeResult)
    assert result.protocol_version == LATEST_HANDSHAKE_VERSION


@RAW
@requirement(
    "2026-07-28/basic/versioning#protocol-version-negotiation",
    "A version that is not implemented MUST be answered with UnsupportedProtocolVersionError listing those that are.",
    era="2026",
)
async def test_an_unknown_modern_version_is_refused_with_the_versions_served(connect: Connect) -> None:
    async with connect.session() as session:
        with pytest.raises(MCPError) as caught:
            await session.send_discover("2099-01-01")
    assert caught.value.error.code == types.UNSUPPORTED_PROTOCOL_VERSION
    data = types.UnsupportedProtocolVersionErrorData.model_validate(caught.value.error.data)
    assert (data.requested, data.supported) == ("2099-01-01", ["2026-07-28"])


@RAW
@requirement(
    "2026-07-28/basic/index#meta",
    "A request missing a required field of _meta MUST be rejected with -32602.",
    era="2026",
)
async def test_a_request_that_says_nothing_about_itself_is_refused(connect: Connect) -> None:
    async with connect.session() as session:
        with pytest.raises(MCPError) as caught:
            await session.list_tools()  # before discover, and without initialize
    assert caught.value.error.code == types.INVALID_PARAMS


@requirement(
    "2026-07-28/basic/index#statelessness", "All that is needed to process a request is in the request.", era="2026"
)
async def test_a_request_needs_none_before_it(connect: Connect) -> None:
    async with connect(mode="2026-07-28") as client:
        assert (await client.call_tool("echo", {"text": "first"})).structured_content == {"result": "first"}


@requirement(
    "2026-07-28/basic/versioning#backward-compatibility-with-initialization-based-versions",
    "A dual-era server MAY serve both eras concurrently on the same endpoint or process.",
)
async def test_both_eras_are_served_side_by_side(connect: Connect) -> None:
    async with connect(mode="auto") as new, connect(mode="legacy") as old:
        for client, version in ((new, "2026-07-28"), (old, LATEST_HANDSHAKE_VERSION), (new, "2026-07-28")):
            result = await client.call_tool("whoami")
            assert (result.structured_content or {})["protocol"] == version


@requirement("2026-07-28/basic/index#meta", "Servers identify the client by _meta, without any prior connection state.")
@requirement("2025-11-25/basic/lifecycle#initialization", "The client sends its information and capabilities once.")
async def test_whoever_serves_a_request_knows_the_client(connect: Connect) -> None:
    info = Implementation(name="somebody", version="9.9")
    answers: list[object] = []

    async def sample(context: object, params: object) -> types.CreateMessageResult:
        raise NotImplementedError

    async with connect(client_info=info, sampling_callback=sample) as client:

        async def ask() -> None:
            answers.append((await client.call_tool("whoami")).structured_content)

        async with anyio.create_task_group() as tasks:
            for _ in range(8):  # on several workers
                tasks.start_soon(ask)
    version = "2026-07-28" if connect.era == "2026" else LATEST_HANDSHAKE_VERSION
    expected = {"name": "somebody", "version": "9.9", "capabilities": {"sampling": {}}, "protocol": version}
    assert answers == [expected] * 8


@requirement("2025-11-25/basic/utilities/ping", "The receiver MUST respond promptly with an empty response.")
@requirement("2026-07-28/changelog", "Remove ping.")
async def test_ping_is_answered_before_2026_07_28_and_unknown_since(connect: Connect) -> None:
    async with connect() as client:
        if connect.era == "handshake":
            assert await client.send_ping() == types.EmptyResult()
        else:
            with pytest.raises(MCPError) as caught:
                await client.send_ping()
            assert caught.value.error.code == types.METHOD_NOT_FOUND


def _initialize(version: str) -> types.InitializeRequest:
    return types.InitializeRequest(
        params=types.InitializeRequestParams(
            protocol_version=version,
            capabilities=types.ClientCapabilities(),
            client_info=Implementation(name="old", version="1"),
        )
    )
