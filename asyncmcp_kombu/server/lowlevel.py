"""The SDK's low-level server inside whatever server object its author has: its drivers take that one.

A FastMCP 4 keeps one of the SDK's low-level servers whose handlers and lifespan are FastMCP's own, so serving that
one is serving the FastMCP. It is known by its attribute: this package does not depend on fastmcp.

Private names used here: `MCPServer._lowlevel_server` of mcp 2.3 (the SDK's own client reads it the same way) and
`FastMCP._mcp_server` of fastmcp 4.1 (its own transports read it the same way). tests/server/test_lowlevel.py and
tests/server/test_fastmcp.py fail when one goes.
"""

from __future__ import annotations

from typing import Any, Protocol

from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer

from asyncmcp_kombu.errors import ConfigurationError


class FastMCPServer(Protocol):
    """A FastMCP 4, for annotations. Keep a reference to it: its low-level server has only a weak one."""

    @property
    def _mcp_server(self) -> Server[Any]: ...


AnyServer = MCPServer[Any] | Server[Any] | FastMCPServer
"""The server objects that can be served."""


def lowlevel_of(server: object) -> Server[Any]:
    """The low-level server of any of `AnyServer`.

    Raises:
        ConfigurationError: it is no server that can be served; the text says which can.
    """
    if isinstance(server, MCPServer):
        return server._lowlevel_server  # pyright: ignore[reportPrivateUsage, reportUnknownVariableType]
    inside = getattr(server, "_mcp_server", server)
    if isinstance(inside, Server):
        return inside  # pyright: ignore[reportUnknownVariableType]
    raise ConfigurationError(
        f"server is {_described(server)}; expected mcp.server.MCPServer, mcp.server.lowlevel.Server, or a FastMCP of "
        "fastmcp 4, which has the latter as _mcp_server" + _advice(server, inside)
    )


def _described(server: object) -> str:
    if isinstance(server, type):
        return f"the class {server.__module__}.{server.__qualname__}, not an instance of it"
    return f"a {type(server).__module__}.{type(server).__qualname__}"


def _advice(server: object, inside: object) -> str:
    if not type(server).__module__.startswith("fastmcp."):
        return ""
    found = "there is none" if inside is server else f"there it is {_described(inside)}"
    return f" ({found}): install fastmcp>=4.1,<5, or declare the tools on an mcp.server.MCPServer"
