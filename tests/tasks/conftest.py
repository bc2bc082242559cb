"""Fleets with tasks, on SQS with SQLite, on Redis with Redis, and a client that speaks raw JSON."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from celery import Celery
from mcp import Client
from mcp.shared.message import SessionMessage
from mcp_types.jsonrpc import jsonrpc_message_adapter
from pytest_celery import CeleryTestWorker

from asyncmcp_kombu import TasksExtension, kombu_client
from asyncmcp_kombu.task_state import EXTENSION
from tests.fleet.conftest import SERVER, Fleet, anyio_backend, broker_urls
from tests.fleet.native import worker_process
from tests.services import new_prefix, redis_url

__all__ = ["anyio_backend", "broker_urls"]

APP = "tests.tasks.tasks_app"
SOON = 40.0
BACKENDS = ["sqs-sqlite", "redis-redis"]
SHORT_LEASE = {"ASYNCMCP_VISIBILITY_TIMEOUT": "3", "ASYNCMCP_WAIT_TIME": "1"}
META = "io.modelcontextprotocol/"


@dataclass
class Wire:
    """A client of raw JSON over its queue: what is on the wire is what a test sees."""

    read: Any
    write: Any
    seen: list[dict[str, Any]] = field(default_factory=list)
    ids: Any = field(default_factory=lambda: itertools.count(1))
    _kept: deque[dict[str, Any]] = field(default_factory=deque)

    async def send(
        self, method: str, params: dict[str, Any] | None = None, *, declares: bool = True, **settings: Any
    ) -> int:
        meta = {
            f"{META}protocolVersion": "2026-07-28",
            f"{META}clientInfo": {"name": "wire", "version": "1"},
            f"{META}clientCapabilities": {
                "elicitation": {},
                **({"extensions": {EXTENSION: settings}} if declares else {}),
            },
        }
        request_id = next(self.ids)
        params = {**(params or {}), "_meta": {**meta, **(params or {}).get("_meta", {})}}
        message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
        await self.write.send(SessionMessage(jsonrpc_message_adapter.validate_python(message)))
        return request_id

    async def next(self, fits: Callable[[dict[str, Any]], bool], timeout: float = SOON) -> dict[str, Any]:
        """The next message that fits; others are kept for later."""
        for message in self._kept:
            if fits(message):
                self._kept.remove(message)
                return message
        with anyio.fail_after(timeout):
            while True:
                arrived = await self.read.receive()
                assert not isinstance(arrived, Exception), arrived
                message = arrived.message.model_dump(by_alias=True, mode="json", exclude_unset=True)
                self.seen.append(message)
                if fits(message):
                    return message
                self._kept.append(message)

    async def request(self, method: str, params: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        """The whole response, with `result` or `error`."""
        request_id = await self.send(method, params, **options)
        return await self.next(lambda message: message.get("id") == request_id)

    async def call(self, tool: str, arguments: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        return await self.request("tools/call", {"name": tool, "arguments": arguments or {}}, **options)

    async def start(self, tool: str, arguments: dict[str, Any] | None = None, **options: Any) -> str:
        """The id of the task that a call becomes."""
        answer = await self.call(tool, arguments, **options)
        assert answer["result"]["resultType"] == "task", answer
        return answer["result"]["taskId"]

    async def get(self, task_id: str) -> dict[str, Any]:
        answer = await self.request("tasks/get", {"taskId": task_id})
        return answer["result"]

    async def until(self, task_id: str, *statuses: str, timeout: float = SOON) -> dict[str, Any]:
        """The task once it has one of the statuses (default: has ended)."""
        wanted = statuses or ("completed", "failed", "cancelled")
        with anyio.fail_after(timeout):
            while (task := await self.get(task_id))["status"] not in wanted:
                await anyio.sleep(0.05)
        return task

    async def pushed(self, task_id: str, *statuses: str, timeout: float = SOON) -> dict[str, Any]:
        """The params of the next `notifications/tasks` about the task, with one of the statuses."""

        def fits(message: dict[str, Any]) -> bool:
            params = message.get("params") or {}
            return (
                message.get("method") == "notifications/tasks"
                and params.get("taskId") == task_id
                and (not statuses or params["status"] in statuses)
            )

        return (await self.next(fits, timeout))["params"]


@dataclass
class TaskFleet(Fleet):
    """A fleet whose tasks are kept where the test says."""

    def start_worker(self, **options: Any) -> CeleryTestWorker:
        worker = self.launch_worker(**options)
        worker.container.ready()
        return worker

    def launch_worker(self, **options: Any) -> CeleryTestWorker:
        name = f"{self.prefix}w{len(self.workers) + 1}"
        process = worker_process(APP, self.env, **{"name": name, "pool": self.pool, **options})
        self.workers.append(CeleryTestWorker(process, Celery(SERVER)))
        return self.workers[-1]

    def replace_workers(self, **options: Any) -> None:
        """Every worker ends (warm), and another one starts."""
        self.begin_to_close()
        for worker in self.workers:
            worker.container.teardown()
        self.start_worker(**options)

    @contextlib.asynccontextmanager
    async def wire(self, **options: Any) -> AsyncGenerator[Wire]:
        async with kombu_client(settings=self.settings, **options) as (read, write):
            yield Wire(read, write)

    @contextlib.asynccontextmanager
    async def with_tasks(
        self, tasks: TasksExtension | None = None, **options: Any
    ) -> AsyncGenerator[tuple[Client, TasksExtension]]:
        tasks = tasks or TasksExtension()
        async with self.client(extensions=[tasks], **options) as client:
            yield client, tasks


NewFleet = Callable[..., TaskFleet]

QUICK = {
    "ASYNCMCP_TASK_POLL_INTERVAL": "0.2",
    "ASYNCMCP_TASK_INLINE_BUDGET": "0.5",
    "ASYNCMCP_TASK_WAIT_BUDGET": "0.5",
}


def _made(broker_urls: Callable[[str], str], where: str, directory: Path, pool: str, env: dict[str, str]) -> TaskFleet:
    broker, backend = where.split("-")
    state = {"XDG_STATE_HOME": str(directory), "ASYNCMCP_SECRET_KEY": "k" * 32, **QUICK}
    if backend != "sqlite":
        state["ASYNCMCP_RESULT_BACKEND"] = {"redis": redis_url}[backend]() if backend == "redis" else backend
    return TaskFleet(broker_urls(broker), new_prefix(), pool, extra_env={**state, **env})


@pytest.fixture
def new_fleet(broker_urls: Callable[[str], str], tmp_path: Path) -> Generator[NewFleet]:
    """Fleets of the test's own, whose workers it may kill."""
    made: list[TaskFleet] = []

    def fleet(where: str, pool: str = "prefork", **env: str) -> TaskFleet:
        made.append(_made(broker_urls, where, tmp_path, pool, env))
        return made[-1]

    yield fleet
    for one in made:
        one.begin_to_close()
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def shared_fleets(
    broker_urls: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Generator[Callable[[str], TaskFleet]]:
    """Fleets that tests share, by where they keep their tasks."""
    running: dict[tuple[str, str], TaskFleet] = {}

    def fleet(where: str, pool: str = "prefork") -> TaskFleet:
        if (where, pool) not in running:
            directory = tmp_path_factory.mktemp("state")
            running[where, pool] = started = _made(broker_urls, where, directory, pool, {})
            started.start_worker(concurrency=4)
        return running[where, pool]

    yield fleet
    for one in running.values():
        one.begin_to_close()
    for one in running.values():
        one.close()


@pytest.fixture(params=BACKENDS)
def fleet(request: pytest.FixtureRequest, shared_fleets: Callable[[str], TaskFleet]) -> TaskFleet:
    """A running fleet for each way to keep tasks, prefork pool."""
    return shared_fleets(request.param)


async def noted(mark: Path, text: str, timeout: float = SOON) -> str:
    """The mark's content once the text stands in it."""
    with anyio.fail_after(timeout):
        while not (mark.exists() and text in mark.read_text()):
            await anyio.sleep(0.02)
    return mark.read_text()
