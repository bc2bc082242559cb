"""The handshake versions: what `initialize` agreed on travels in the session id, to whichever process is next."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.server.mcpserver import Context, MCPServer
from mcp_types.jsonrpc import ErrorData
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION

from asyncmcp_kombu.envelope import Envelope, compose
from asyncmcp_kombu.server.dispatch import dispatch
from asyncmcp_kombu.server.replies import Replies
from asyncmcp_kombu.server.serving import Answer
from asyncmcp_kombu.server.sessions import Sessions
from tests.server.recording import KEYS, META, Recording, request, serving

pytestmark = pytest.mark.anyio

server = MCPServer("tiny")
heard: list[str] = []


@server.tool()
async def whoami(ctx: Context) -> str:
    params = ctx.request_context.session.client_params
    assert params is not None
    return (
        f"{params.client_info.name} {ctx.request_context.protocol_version} {params.capabilities.sampling is not None}"
    )


@server.tool()
async def chatter(ctx: Context) -> str:
    for level in ("debug", "info", "error"):
        await ctx.request_context.session.send_log_message(level, level, related_request_id=ctx.request_id)
        await ctx.request_context.session.send_log_message(level, f"standalone {level}")
    return "said"


async def set_level(ctx: Any, params: Any) -> dict[str, Any]:
    heard.append(params.level)
    return {}


def lowlevel() -> Any:
    from mcp_types import SetLevelRequestParams

    own = server._lowlevel_server
    own.add_request_handler("logging/setLevel", SetLevelRequestParams, set_level)
    return own


def initialize(version: str = LATEST_HANDSHAKE_VERSION, **attributes: Any) -> Envelope:
    params = {
        "protocolVersion": version,
        "capabilities": {"sampling": {}},
        "clientInfo": {"name": "old", "version": "1"},
    }
    return request("initialize", params, meta=None, **attributes)


async def served(incoming: Envelope, publish: Any = None) -> tuple[Answer, str | None]:
    replies = Replies(incoming, publish or Recording())
    answer = await dispatch(serving(lowlevel(), {}, publish or Recording()), incoming, replies)
    return answer, replies.session_id


async def open_session(version: str = LATEST_HANDSHAKE_VERSION) -> str:
    answer, session_id = await served(initialize(version))
    assert isinstance(answer, dict)
    assert session_id is not None
    return session_id


@pytest.mark.parametrize("version", HANDSHAKE_PROTOCOL_VERSIONS)
async def test_each_version_is_negotiated_and_remembered_in_the_session_id(version: str):
    answer, session_id = await served(initialize(version))
    assert isinstance(answer, dict)
    assert answer["protocolVersion"] == version
    called, _ = await served(request("tools/call", {"name": "whoami"}, meta=None, session_id=session_id))
    assert isinstance(called, dict)
    assert called["content"][0]["text"] == f"old {version} True"


async def test_an_unknown_version_is_answered_with_the_newest_handshake():
    answer, _ = await served(initialize("1999-01-01"))
    assert isinstance(answer, dict)
    assert answer["protocolVersion"] == LATEST_HANDSHAKE_VERSION


async def test_initialize_with_the_modern_envelope_is_a_handshake_all_the_same():
    params = dict(initialize().params) | {"_meta": META}
    answer, session_id = await served(request("initialize", params, meta=META))
    assert isinstance(answer, dict)
    assert session_id


@pytest.mark.parametrize("session_id", [None, "any"])
async def test_ping_needs_no_session(session_id: str | None):
    answer, _ = await served(request("ping", meta=None, session_id=session_id))
    assert answer == {}


@pytest.mark.parametrize(
    ("change", "client"),
    [(lambda s: s[:-2] + "xx", "c1"), (lambda s: "made up", "c1"), (lambda s: s, "c2")],
    ids=["altered", "unsigned", "another client's"],
)
async def test_a_session_id_that_was_not_made_for_the_client_is_refused(change: Any, client: str):
    session_id = change(await open_session())
    answer, _ = await served(request("tools/list", meta=None, session_id=session_id, client_id=client))
    assert isinstance(answer, ErrorData)
    assert answer.code == -32600
    assert answer.data == {"reason": "session"}
    assert session_id not in answer.message


async def test_a_session_of_another_server_with_the_same_key_is_refused():
    incoming = initialize()
    foreign = Sessions("other", KEYS)
    from mcp_types import InitializeRequestParams

    session_id = foreign.seal(incoming, "2025-11-25", InitializeRequestParams.model_validate(incoming.params))
    answer, _ = await served(request("tools/list", meta=None, session_id=session_id))
    assert isinstance(answer, ErrorData)
    assert answer.data == {"reason": "session"}


async def test_without_a_session_the_sdk_says_what_is_missing():
    answer, _ = await served(request("tools/list", meta=None))
    assert isinstance(answer, ErrorData)
    assert answer.code == -32602


async def test_log_messages_below_the_level_of_the_session_are_not_sent():
    session_id = await open_session()
    publish = Recording()
    await served(request("tools/call", {"name": "chatter"}, meta=None, session_id=session_id), publish)
    assert [message["params"]["data"] for message in publish.messages] == [
        "debug", "standalone debug", "info", "standalone info", "error", "standalone error",
    ]  # fmt: skip
    heard.clear()
    set_level = request("logging/setLevel", {"level": "error"}, meta=None, session_id=session_id)
    answer, new_session_id = await served(set_level)
    assert answer == {}
    assert heard == ["error"]
    assert new_session_id not in (None, session_id)
    publish = Recording()
    await served(request("tools/call", {"name": "chatter"}, meta=None, session_id=new_session_id), publish)
    assert [message["params"]["data"] for message in publish.messages] == ["error", "standalone error"]


async def test_a_notification_is_never_answered_not_even_a_refused_one():
    for session_id in (await open_session(), "made up", None):
        message = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        answer, _ = await served(compose(message, client_id="c1", session_id=session_id))
        assert answer is None
