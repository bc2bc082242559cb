"""Where outcomes are kept: rows of Celery's result backend, written many at a time and without reading first.

Celery's own `store_result` reads before it writes and, on SQL, goes through an ORM session: milliseconds of CPU time
for each call. A row here is written once, by whoever finished the call first, and is gone after its time to live.

Names of Celery 5.7 used here: `DatabaseBackend.ResultSession` and `task_cls`, `RedisBackend.client`,
`BaseKeyValueStoreBackend.get_key_for_task`. tests/fleet/test_outcomes.py fails when one goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

from celery import Celery
from celery.backends.base import DisabledBackend
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

STATE = "MCP-OUTCOME"
"""Celery's state of our rows, by which they can be told from results."""


class Row(NamedTuple):
    """A key that nobody can guess, and the answer as JSON text."""

    key: str
    text: str


class OutcomeStore(Protocol):
    """Blocks. Raises whatever the backend's driver raises when that is away."""

    @property
    def shared(self) -> bool:
        """Whether workers on other machines find the rows."""
        ...

    def write(self, rows: Sequence[Row]) -> None:
        """Returns when they are kept. Of two outcomes of one call either may be."""
        ...

    def read(self, key: str) -> str | None: ...

    def close(self) -> None:
        """By the thread that wrote."""
        ...


def store_for(app: Celery, ttl: float) -> OutcomeStore | None:
    """The store of an app's result backend; None where that keeps nothing (`disabled`, `rpc://`).

    Args:
        ttl: seconds for which a row is kept; where a backend has one expiry for all (not Redis, not SQL), that holds.
    """
    backend = app.backend
    if is_sql(backend):
        return SqlStore(backend, ttl)
    if hasattr(backend, "client") and hasattr(getattr(backend, "client", None), "setex"):
        return RedisStore(backend, ttl)
    if isinstance(backend, DisabledBackend) or type(backend).__name__ == "RPCBackend":
        return None
    return AnyStore(backend)


def is_sql(backend: Any) -> bool:
    return hasattr(backend, "ResultSession") and hasattr(backend, "task_cls")


class SqlStore:
    """One transaction for all rows, over a connection that stays open. Written by one thread, read by any."""

    def __init__(self, backend: Any, ttl: float) -> None:
        session = backend.ResultSession()  # makes the tables, too
        self._engine: Any = session.get_bind()
        session.close()
        self._rows: Any = backend.task_cls.__table__
        self._connection: Any = None
        # Celery's cleanup deletes by `date_done` what is older than `expires`: told to be so much older, a row
        # goes when its own time is over.
        self._later = timedelta(seconds=ttl) - (backend.expires or timedelta(seconds=ttl))
        ignore = {"sqlite": "OR IGNORE", "mysql": "IGNORE", "mariadb": "IGNORE"}.get(self._engine.dialect.name)
        self._insert: Any = insert(self._rows) if ignore is None else insert(self._rows).prefix_with(ignore)

    @property
    def shared(self) -> bool:
        return self._engine.dialect.name != "sqlite"

    def write(self, rows: Sequence[Row]) -> None:
        date_done = (datetime.now(UTC) + self._later).replace(tzinfo=None)
        values = [
            {"task_id": row.key, "status": STATE, "result": row.text.encode(), "date_done": date_done} for row in rows
        ]
        try:
            self._write(values)
        except IntegrityError:  # one of them is kept already, where the dialect cannot pass over it
            for value in values:
                self._write_unless_kept(value)

    def _write_unless_kept(self, value: dict[str, Any]) -> None:
        try:
            self._write([value])
        except IntegrityError:
            return

    def _write(self, values: list[dict[str, Any]]) -> None:
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            with self._connection.begin():
                self._connection.execute(self._insert, values)
        except IntegrityError:
            raise
        except Exception:
            self.close()
            raise

    def read(self, key: str) -> str | None:
        wanted = select(self._rows.c.result).where(self._rows.c.task_id == key, self._rows.c.status == STATE)
        with self._engine.connect() as connection:
            found = connection.execute(wanted).scalar()
        return None if found is None else bytes(found).decode()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class RedisStore:
    """All rows in one round trip, each with its own expiry."""

    shared = True

    def __init__(self, backend: Any, ttl: float) -> None:
        self._backend, self._milliseconds = backend, max(1, int(ttl * 1_000))

    def write(self, rows: Sequence[Row]) -> None:
        with self._backend.client.pipeline(transaction=False) as pipe:
            for row in rows:
                pipe.set(self._backend.get_key_for_task(row.key), row.text, px=self._milliseconds)
            pipe.execute()

    def read(self, key: str) -> str | None:
        found = self._backend.client.get(self._backend.get_key_for_task(key))
        return found.decode() if isinstance(found, bytes) else found

    def close(self) -> None:
        """The client is Celery's."""


class AnyStore:
    """Any other backend of Celery's, as it is."""

    shared = True

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._backend.store_result(row.key, row.text, "SUCCESS")

    def read(self, key: str) -> str | None:
        found = self._backend.get_task_meta(key, cache=False).get("result")
        return found if isinstance(found, str) else None

    def close(self) -> None:
        """There is nothing of ours."""
