"""The Celery app of the fleet. Run as `celery -A tests.conformance.fleet_app worker`."""

from __future__ import annotations

from celery import Celery

from asyncmcp_kombu import serve_mcp
from tests.conformance.server import NAME, make_server

app = Celery(NAME, include=["tests.conformance.task_tools"])
serve_mcp(app, make_server())
