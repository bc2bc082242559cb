"""The embedded SQS and SNS endpoint for development: an engine in a child process, on loopback only."""

from __future__ import annotations

from asyncmcp_kombu.local.engines import DEFAULT_ENGINE, ENGINES, Engine, engine_named
from asyncmcp_kombu.local.errors import LocalEngineError
from asyncmcp_kombu.local.foreground import run_until_stopped
from asyncmcp_kombu.local.process import DEFAULT_PORT, LocalEngine

__all__ = [
    "DEFAULT_ENGINE",
    "DEFAULT_PORT",
    "ENGINES",
    "Engine",
    "LocalEngine",
    "LocalEngineError",
    "engine_named",
    "run_until_stopped",
]
