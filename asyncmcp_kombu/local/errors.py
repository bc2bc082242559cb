"""What can go wrong with the embedded endpoint."""

from __future__ import annotations

from asyncmcp_kombu.errors import AsyncMcpError


class LocalEngineError(AsyncMcpError, RuntimeError):
    """The embedded endpoint cannot be installed, started or used; the text says what to do next."""

    reason = "local-engine"
