"""The default result backend: SQLite in a file of this user, through Celery's own SQLAlchemy backend.

For one machine. A fleet on several names one that all can reach: `result_backend` of the app, or
ASYNCMCP_RESULT_BACKEND (redis://, db+postgresql://, dynamodb://).
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from asyncmcp_kombu.settings import Settings

OVERRIDES = {"dynamodb": "asyncmcp_kombu.tasks.dynamodb:ConsistentDynamoDB"}
"""Backends of Celery's that are not used as they are, by the scheme of their URL."""

_PATIENCE = 30.0
"""Seconds for which a write waits for another process's."""


def default_result_backend(settings: Settings) -> dict[str, Any]:
    """Celery settings for the result backend, below whatever the app itself configures."""
    if settings.result_backend is not None:
        return {"result_backend": settings.result_backend.get_secret_value()}
    return {
        "result_backend": f"db+sqlite:///{database_file()}",
        "database_engine_options": {"connect_args": {"timeout": _PATIENCE}},
        "database_engine_callback": "asyncmcp_kombu.tasks.backend:prepare_engine",
        "database_create_tables_at_setup": True,
    }


def database_file() -> Path:
    """Where results are kept by default: readable by this user only."""
    state = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "asyncmcp-kombu"
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    return state / "results.sqlite"


def prepare_engine(engine: Engine) -> None:
    """Called by Celery for each engine: readers and one writer at a time do not wait for each other in WAL mode."""

    def on_connect(connection: Any, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

    event.listen(engine, "connect", on_connect)
