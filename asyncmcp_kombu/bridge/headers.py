"""Headers of the Tasks extension's methods: `Mcp-Name` is the task's id (SEP-2663).

The SDK checks this header for the methods that it knows (`NAME_BEARING_METHODS`, mcp 2.3), and these are not among
them. The rule is the same: a request without it, or with another id, is refused.
"""

from __future__ import annotations

from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp_types.jsonrpc import HEADER_MISMATCH
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from asyncmcp_kombu.bridge.sdk import Context

_METHODS = frozenset({"tasks/get", "tasks/update", "tasks/cancel"})


def check_task_id(ctx: Context) -> None:
    """Compare header and body of a request that came over HTTP.

    Raises:
        MCPError: -32020, they differ.
    """
    if ctx.method not in _METHODS or ctx.request is None or ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        return
    task_id = (ctx.params or {}).get("taskId")
    if task_id is not None and decode_header_value(ctx.request.headers.get(MCP_NAME_HEADER)) != task_id:
        raise MCPError(
            HEADER_MISMATCH, f"{MCP_NAME_HEADER} header does not match the request body's 'taskId' parameter"
        )
