"""Where tasks are kept: PostgreSQL and DynamoDB serve too; what is over is deleted; what cannot be kept is refused."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from celery import Celery
from celery.exceptions import ImproperlyConfigured

from asyncmcp_kombu import Settings, mcp_task, serve_mcp
from asyncmcp_kombu.errors import ConfigurationError
from asyncmcp_kombu.task_state import Task
from asyncmcp_kombu.tasks import cleanup
from asyncmcp_kombu.tasks.cleanup import check_expiry, clean_up
from asyncmcp_kombu.tasks.record import TaskRecord
from asyncmcp_kombu.tasks.store import TaskStore
from asyncmcp_kombu.worker.registry import tools_of
from tests import services
from tests.tasks.conftest import NewFleet, TaskFleet

NOW = "2026-07-28T00:00:00.000Z"


def record(task_id: str, status: str = "working", expires_at: float = 1.0) -> TaskRecord:
    task = Task(task_id=task_id, status=status, created_at=NOW, last_updated_at=NOW, ttl_ms=1)  # type: ignore[arg-type]
    return TaskRecord(task=task, tool="t", message={}, header={}, queue=None, expires_at=expires_at)


@pytest.fixture
def postgresql() -> str:
    services.require_port(5432, "PostgreSQL")
    return "db+postgresql+psycopg://postgres@127.0.0.1:5432/test"


async def tasks_live_in(fleet: TaskFleet) -> list[str]:
    """A fleet's tasks end, ask and are cancelled; the rows of the backend that this makes."""
    fleet.start_worker(concurrency=4)
    async with fleet.wire() as wire:
        ids = [await wire.start("double", {"n": n}) for n in range(8)]
        assert [(await wire.until(task_id))["result"]["structuredContent"]["result"] for task_id in ids] == [
            2 * n for n in range(8)
        ]
        asking = await wire.start("asks")
        await wire.until(asking, "input_required")
        await wire.request("tasks/cancel", {"taskId": asking})
        assert (await wire.get(asking))["status"] == "cancelled"
    return [*ids, asking, f"{asking}:cancelled"]


@pytest.mark.anyio
async def test_tasks_are_kept_in_postgresql(new_fleet: NewFleet, postgresql: str):
    rows = await tasks_live_in(new_fleet("redis-none", "threads", ASYNCMCP_RESULT_BACKEND=postgresql))
    backend = Celery(backend=postgresql, set_as_current=False).backend
    for row in rows:
        backend.forget(row)


@pytest.mark.anyio
async def test_tasks_are_kept_in_dynamodb_until_they_expire(
    new_fleet: NewFleet, sqs_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
):
    """That of the embedded engine, which has one."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    endpoint = urlsplit(sqs_url)
    backend = f"dynamodb://{endpoint.username}:{endpoint.password}@127.0.0.1:{endpoint.port}/{prefix}tasks"
    rows = await tasks_live_in(new_fleet("sqs-none", "threads", ASYNCMCP_RESULT_BACKEND=backend))
    client = boto3.client(
        "dynamodb",
        endpoint_url=f"http://127.0.0.1:{endpoint.port}",
        region_name="us-east-1",
        aws_access_key_id=endpoint.username,
        aws_secret_access_key=endpoint.password,
    )
    try:
        items = client.scan(TableName=f"{prefix}tasks")["Items"]
        assert len(items) == len(rows)
        assert all(86_000 < float(item["ttl"]["N"]) - time.time() <= 86_400 for item in items)
        ttl = client.describe_time_to_live(TableName=f"{prefix}tasks")["TimeToLiveDescription"]
        assert (ttl["TimeToLiveStatus"], ttl["AttributeName"]) == ("ENABLED", "ttl")
    finally:
        client.delete_table(TableName=f"{prefix}tasks")


@pytest.fixture
def sqlite_app(tmp_path: Path) -> Iterator[Celery]:
    app = Celery("kept", set_as_current=False, backend=f"db+sqlite:///{tmp_path}/results.sqlite")
    yield app
    app.close()


def rows(app: Celery) -> int:
    with app.backend.ResultSession() as session:
        return session.query(app.backend.task_cls).count()


def test_what_is_over_is_deleted_from_a_sql_backend(sqlite_app: Celery, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cleanup, "_AT_ONCE", 4)
    store = TaskStore(sqlite_app)
    for n in range(9):
        store.write(record(f"over-{n}"))
    store.listen(record("over-0"), {"client_id": "c", "reply_to": None})
    store.write(record("asks", "input_required"))
    store.write(record("open", expires_at=4e9))
    store.write(record("done", "completed", expires_at=4e9))
    clean_up(sqlite_app)
    assert rows(sqlite_app) == 2
    assert store.read("open") is not None
    assert store.read("done") is not None
    sqlite_app.backend.expires = sqlite_app.backend.expires * 0
    clean_up(sqlite_app)
    assert rows(sqlite_app) == 1


def test_a_task_that_has_ended_is_never_written_over(sqlite_app: Celery):
    store = TaskStore(sqlite_app)
    for status in ("completed", "failed", "cancelled"):
        store.write(record(status, status, expires_at=4e9))
        store.write(record(status, "working", expires_at=4e9))
        known = store.read(status)
        assert known is not None
        assert known.task.status == status


def test_a_ttl_that_celery_does_not_keep_is_refused():
    app = Celery("expiring", set_as_current=False)
    settings = Settings(broker_url="memory://", server="expiring")
    serve_mcp(app, settings=settings)

    # A task of this app alone: otherwise it would be a tool of every app in this process.
    @mcp_task(task="optional", ttl=100_000)
    @app.task(name="kept_for_long", shared=False)
    def kept_for_long() -> str:
        return ""

    tools = {name: one for name, one in tools_of(app).items() if name == "kept_for_long"}
    with pytest.raises(ConfigurationError, match=r"kept_for_long.*100000 s.*86400 s.*result_expires"):
        check_expiry(app, tools, settings)
    app.conf.result_expires = 100_000
    check_expiry(app, tools, settings)
    app.close()


def test_what_cannot_be_kept_is_refused_at_worker_start(tmp_path: Path):
    (tmp_path / "badapp.py").write_text(
        "from celery import Celery\n"
        "from asyncmcp_kombu import mcp_task, serve_mcp\n"
        "app = Celery('badapp', broker='memory://')\n"
        "serve_mcp(app)\n"
        "@mcp_task(task='required', terminate=True)\n"
        "def ended() -> str: return ''\n"
    )
    argv = [sys.executable, "-m", "celery", "-A", "badapp", "worker", "-P", "threads"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "'ended' has terminate=True" in done.stderr


def test_reads_of_dynamodb_are_consistent():
    """Its name is private: see asyncmcp_kombu.tasks.dynamodb."""
    app = Celery("dynamo", set_as_current=False, backend="dynamodb://k:s@127.0.0.1:1/tasks?read=1&write=1")
    serve_mcp(app, settings=Settings(broker_url="memory://", server="dynamo"))
    from celery.app.backends import by_url

    try:
        cls, _ = by_url("dynamodb://", app.loader)
    except ImproperlyConfigured as error:
        pytest.fail(str(error))
    assert object.__new__(cls)._prepare_get_request("key")["ConsistentRead"] is True
    app.close()
