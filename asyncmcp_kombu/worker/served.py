"""Served: what a Celery app serves over MCP, and where to find it from a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from celery import Celery
from mcp.server.lowlevel.server import Server

from asyncmcp_kombu.server.lowlevel import AnyServer, lowlevel_of
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.topology import Topology
from asyncmcp_kombu.worker.deferral import Deferral

REQUEST_TASK = "mcp.request"
"""Celery task for every request that is not a call of a known tool: listings, prompts, resources, …"""


@dataclass(frozen=True, slots=True)
class Served:
    """One MCP server on one Celery app. `server` is the author's own object."""

    server: AnyServer
    topology: Topology
    settings: Settings
    deferral: Deferral | None = None

    @property
    def lowlevel(self) -> Server[Any]:
        """The SDK's low-level server, which its drivers take."""
        return lowlevel_of(self.server)


_served: WeakKeyDictionary[Celery, Served] = WeakKeyDictionary()


def remember(app: Celery, served: Served) -> None:
    _served[app] = served


def served_by(app: Celery) -> Served | None:
    """What the app serves, or None when `serve_mcp` was not called for it."""
    return _served.get(app)
