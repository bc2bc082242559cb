"""asyncmcp-kombu: MCP tools on a Celery fleet.

The public names; each is loaded when it is first used, so that a process that only calls tools imports
neither Celery nor a worker.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncmcp_kombu.client.audience import kombu_audience
    from asyncmcp_kombu.client.tasks import TasksExtension
    from asyncmcp_kombu.client.transport import kombu_client
    from asyncmcp_kombu.fleet import serve_mcp
    from asyncmcp_kombu.server.serve import serve
    from asyncmcp_kombu.server.transport import kombu_server
    from asyncmcp_kombu.settings import Settings
    from asyncmcp_kombu.sns_sqs.config import SnsSqsClientConfig, SnsSqsServerConfig, SnsSqsTransportConfig
    from asyncmcp_kombu.sqs.config import SqsClientConfig, SqsServerConfig
    from asyncmcp_kombu.worker.tool import mcp_task

__all__ = [
    "Settings",
    "SnsSqsClientConfig",
    "SnsSqsServerConfig",
    "SnsSqsTransportConfig",
    "SqsClientConfig",
    "SqsServerConfig",
    "TasksExtension",
    "kombu_audience",
    "kombu_client",
    "kombu_server",
    "mcp_task",
    "serve",
    "serve_mcp",
]
__version__ = "0.1.0"

_HOMES = {
    "Settings": "asyncmcp_kombu.settings",
    "SnsSqsClientConfig": "asyncmcp_kombu.sns_sqs.config",
    "SnsSqsServerConfig": "asyncmcp_kombu.sns_sqs.config",
    "SnsSqsTransportConfig": "asyncmcp_kombu.sns_sqs.config",
    "SqsClientConfig": "asyncmcp_kombu.sqs.config",
    "SqsServerConfig": "asyncmcp_kombu.sqs.config",
    "TasksExtension": "asyncmcp_kombu.client.tasks",
    "kombu_audience": "asyncmcp_kombu.client.audience",
    "kombu_client": "asyncmcp_kombu.client.transport",
    "kombu_server": "asyncmcp_kombu.server.transport",
    "mcp_task": "asyncmcp_kombu.worker.tool",
    "serve": "asyncmcp_kombu.server.serve",
    "serve_mcp": "asyncmcp_kombu.fleet",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
