"""Which server objects can be served; the private names by which their low-level server is found."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer

from asyncmcp_kombu import Settings, kombu_client, serve
from asyncmcp_kombu.errors import ConfigurationError
from asyncmcp_kombu.server.lowlevel import lowlevel_of
from tests import services
from tests.fleet.native import worker_process


class Subclass(MCPServer[Any]):
    pass


class Holder:
    """Shaped as a FastMCP 4 is."""

    def __init__(self, server: Any) -> None:
        self._mcp_server = server


def fastmcp_with(server: Any) -> Any:
    """An object that says it is a FastMCP."""
    kind = type("FastMCP", (), {"__module__": "fastmcp.server.server"})
    one = kind()
    if server is not None:
        one._mcp_server = server
    return one


def test_the_sdks_own_servers():
    own, lowlevel = Subclass("own"), Server[Any]("low")
    assert lowlevel_of(own) is own._lowlevel_server
    assert isinstance(lowlevel_of(own), Server)
    assert lowlevel_of(own).name == "own"
    assert lowlevel_of(lowlevel) is lowlevel


def test_a_server_that_keeps_a_lowlevel_server_as_fastmcp_does():
    lowlevel = Server[Any]("low")
    assert lowlevel_of(Holder(lowlevel)) is lowlevel
    assert lowlevel_of(fastmcp_with(lowlevel)) is lowlevel


@pytest.mark.parametrize(
    ("server", "says"),
    [
        (object(), "a builtins.object; expected mcp.server.MCPServer"),
        (None, "a builtins.NoneType; expected"),
        (MCPServer, r"the class mcp.server.mcpserver.server.MCPServer, not an instance of it"),
        (Holder(object()), r"a tests.server.test_lowlevel.Holder; .* FastMCP of fastmcp 4.*as _mcp_server$"),
        (
            fastmcp_with(None),
            r"a fastmcp.server.server.FastMCP; .*there is none\): install fastmcp>=4.1,<5, or",
        ),
        (fastmcp_with(object()), r"FastMCP; .*there it is a builtins.object\): install fastmcp>=4.1,<5"),
    ],
)
def test_what_cannot_be_served_is_told_and_what_can(server: Any, says: str):
    with pytest.raises(ConfigurationError, match=says):
        lowlevel_of(server)


@pytest.mark.anyio
async def test_serve_refuses_it_before_it_connects():
    with pytest.raises(ConfigurationError, match="expected mcp"):
        await serve(object(), "memory://", "nobody")  # type: ignore[arg-type]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_server_of_the_servers_page(tmp_path: Path, prefix: str):
    page = Path(__file__).parents[2] / "docs" / "servers.md"
    example, _ = re.findall(r"```python\n(.*?)```", page.read_text(), re.S)  # the other one: test_fastmcp.py
    (tmp_path / "library.py").write_text(example)
    settings = Settings(broker_url=services.redis_url(), prefix=prefix, server="library")
    env = {"ASYNCMCP_BROKER_URL": services.REDIS_URL, "ASYNCMCP_PREFIX": prefix, "PYTHONPATH": str(tmp_path)}
    worker = worker_process("library", env, name=prefix, concurrency=1)
    try:
        worker.ready()
        async with Client(kombu_client(settings=settings), read_timeout_seconds=20) as client:
            assert (await client.call_tool("shelves", {})).structured_content == {"result": 3}
    finally:
        worker.teardown()
        services.cleanup_queues(services.REDIS_URL, prefix)
