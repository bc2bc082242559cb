"""The Celery app of the fleets. Run as `celery -A tests.interaction.fleet_app worker` with INTERACTION_SERVER set."""

from __future__ import annotations

import os

from celery import Celery

from asyncmcp_kombu import serve_mcp
from tests.interaction.servers import MCPSERVER, make_server

name = os.environ.get("INTERACTION_SERVER", MCPSERVER)
app = Celery(name)
serve_mcp(app, make_server(name))
