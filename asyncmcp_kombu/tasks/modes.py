"""Modes: which calls may become tasks: what the tool says (`task=`), and what its client declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp_types import CLIENT_CAPABILITIES_META_KEY, PROTOCOL_VERSION_META_KEY

from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.task_state import EXTENSION
from asyncmcp_kombu.worker.tool import McpTask, TaskMode


def mode_of(tool: McpTask | None) -> TaskMode:
    """A tool's `task=`; `never` where it says nothing, or there is no such tool."""
    options = getattr(tool, "mcp_tool", None)
    return "never" if options is None else options.task


def ttl_of(tool: McpTask, settings: Settings) -> float:
    """Seconds for which a task of this tool can be asked for."""
    return (tool.mcp_tool.ttl if tool.mcp_tool is not None else None) or settings.task_ttl


def longest_ttl(tools: Mapping[str, McpTask], settings: Settings) -> float:
    """Of all tools that may become tasks; 0 when there is none."""
    return max((ttl_of(tool, settings) for tool in tools.values() if mode_of(tool) != "never"), default=0.0)


def declares_tasks(request: Envelope) -> bool:
    """Whether the client of this request says that it knows the Tasks extension."""
    return client_extension(request) is not None


def client_settings(request: Envelope) -> Mapping[str, Any]:
    """What the client declares with the extension; this package's client says `push`."""
    return client_extension(request) or {}


def client_extension(request: Envelope) -> Mapping[str, Any] | None:
    """The extension in the capabilities of a 2026-07-28 request; None when it is not declared.

    Looked at before the SDK has validated anything.
    """
    meta: Any = request.params.get("_meta")
    if not isinstance(meta, Mapping) or PROTOCOL_VERSION_META_KEY not in meta:
        return None
    capabilities: Any = meta.get(CLIENT_CAPABILITIES_META_KEY)
    extensions: Any = capabilities.get("extensions") if isinstance(capabilities, Mapping) else None
    settings: Any = extensions.get(EXTENSION) if isinstance(extensions, Mapping) else None
    return settings if isinstance(settings, Mapping) else None
