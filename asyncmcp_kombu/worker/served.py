"""Served: what a Celery app serves over MCP, and where to find it from a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from celery import Celery
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer

from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.topology import Topology

REQUEST_TASK = "mcp.request"
"""Celery task for every request that is not a call of a known tool: listings, prompts, resources, …"""


@dataclass(frozen=True, slots=True)
class Served:
    """One MCP server on one Celery app. `server` is the author's own object."""

    server: MCPServer[Any] | Server[Any]
    topology: Topology
    settings: Settings

    @property
    def lowlevel(self) -> Server[Any]:
        """The SDK's low-level server, which its drivers take."""
        if isinstance(self.server, MCPServer):
            # mcp 2.3 has no public name for it yet (its own client reads it the same way).
            return self.server._lowlevel_server  # pyright: ignore[reportPrivateUsage]
        return self.server


_served: WeakKeyDictionary[Celery, Served] = WeakKeyDictionary()


def remember(app: Celery, served: Served) -> None:
    _served[app] = served


def served_by(app: Celery) -> Served | None:
    """What the app serves, or None when `serve_mcp` was not called for it."""
    return _served.get(app)
