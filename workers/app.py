"""The Celery app. `serve_mcp` makes its workers serve MCP under the app's name."""

from celery import Celery

from asyncmcp_kombu import serve_mcp

app = Celery("workers", include=["workers.tools"])
serve_mcp(app)
