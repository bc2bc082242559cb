"""Deployments: both servers running on one broker, in one process or on Celery workers, for many tests."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import Final, Protocol

import anyio
from anyio.from_thread import start_blocking_portal
from celery import Celery
from celery.contrib.testing.worker import start_worker
from celery.worker import state as worker_state
from pydantic import SecretStr

from asyncmcp_kombu import Settings, kombu_client, serve, serve_mcp
from asyncmcp_kombu.worker.process import close_all
from tests.fleet.native import NativeProcess, worker_process
from tests.interaction.servers import LOWLEVEL, MCPSERVER, SERVERS, make_server
from tests.services import MEMORY_URL, cleanup_queues, new_prefix

NODES: Final = {MCPSERVER: 2, LOWLEVEL: 1}
"""Celery workers per server: two, so that requests really spread; each takes seconds to start."""


class Deployment(Protocol):
    """Serves from when it is made until it is closed."""

    def settings(self, server: str) -> Settings:
        """What a client of this server needs."""
        ...

    def restart(self) -> None:
        """Stop everything that serves, and start it anew."""
        ...

    def begin_to_close(self) -> None:
        """Where closing takes seconds, let it begin: others are closed meanwhile."""
        ...

    def close(self) -> None: ...


class _Base:
    """The settings, and a client of each server that stays connected: so those of the tests find their mailbox open."""

    def __init__(self, broker_url: str) -> None:
        self._settings = Settings(
            broker_url=SecretStr(broker_url),
            prefix=new_prefix(),
            secret_key=SecretStr(secrets.token_hex(32)),
            wait_time=2,
        )
        self._stack, self._serving, self._serves = ExitStack(), ExitStack(), True
        self._stack.callback(cleanup_queues, broker_url, self._settings.prefix)
        self._portal = self._stack.enter_context(start_blocking_portal("asyncio", name="interaction"))
        self._stack.callback(lambda: self._serving.close())
        try:
            self._start()
            for server in SERVERS:
                stays = kombu_client(settings=_Base.settings(self, server))
                self._stack.enter_context(self._portal.wrap_async_context_manager(stays))
        except BaseException:
            self._stack.close()
            raise

    def settings(self, server: str) -> Settings:
        assert self._serves, "it has been stopped and did not start again"
        return self._settings.model_copy(update={"server": server})

    def restart(self) -> None:
        self._serves = False
        self._serving.close()
        self._start()
        self._serves = True

    def begin_to_close(self) -> None:
        return

    def close(self) -> None:
        self._stack.close()

    def _start(self) -> None:
        raise NotImplementedError


class SingleProcess(_Base):
    """`serve()` for each server, in an event loop of this process."""

    def _start(self) -> None:
        self._serving = ExitStack()
        for server in SERVERS:
            self._serving.enter_context(self._portal.wrap_async_context_manager(_served(server, self._settings)))


@asynccontextmanager
async def _served(name: str, settings: Settings) -> AsyncGenerator[None]:
    async with anyio.create_task_group() as tasks:
        await tasks.start(partial(serve, make_server(name), name=name, settings=settings))
        yield
        tasks.cancel_scope.cancel()


class Fleet(_Base):
    """Celery workers, each a process of its own with two children; they start and stop all at once."""

    def _start(self) -> None:
        self._serving = ExitStack()
        self._workers = [self._worker(server, n) for server in SERVERS for n in range(NODES[server])]
        for worker in self._workers:
            self._serving.callback(worker.teardown)
        self._serving.callback(self.begin_to_close)
        for worker in self._workers:
            worker.ready()

    def begin_to_close(self) -> None:
        """A warm shutdown takes seconds."""
        for worker in self._workers:
            worker.begin_to_terminate()

    def _worker(self, server: str, n: int) -> NativeProcess:
        settings = self._settings
        env = {
            "ASYNCMCP_BROKER_URL": settings.broker_url.get_secret_value(),
            "ASYNCMCP_PREFIX": settings.prefix,
            "ASYNCMCP_SECRET_KEY": (settings.secret_key or SecretStr("")).get_secret_value(),
            "INTERACTION_SERVER": server,
        }
        return worker_process("tests.interaction.fleet_app", env, name=f"{settings.prefix}{server}{n}", concurrency=2)


class InProcessFleet(_Base):
    """A Celery worker in threads of this process: the memory broker reaches no other.

    One server at a time, whichever is asked for: Celery's tracer knows one app per process.
    """

    _server: str | None = None

    def settings(self, server: str) -> Settings:
        if self._server != server:
            self._server = server
            self.restart()
        return super().settings(server)

    def _start(self) -> None:
        self._serving = ExitStack()
        if self._server is None:
            return
        app = Celery(self._server, set_as_current=False)
        serve_mcp(app, make_server(self._server), settings=self._settings)
        self._serving.callback(app.close)
        self._serving.callback(close_all)
        worker = start_worker(app, pool="threads", concurrency=4, perform_ping_check=False, shutdown_timeout=30)
        self._serving.enter_context(worker)
        self._serving.callback(_end_soon, app)


def _end_soon(app: Celery) -> None:
    """Without events in its loop, a worker looks twice, at messages or after two seconds, before it ends."""
    worker_state.should_terminate = 0
    with app.connection() as connection:
        for _ in range(2):
            connection.Producer().publish({}, exchange="", routing_key=app.conf.task_default_queue)


def deploy(host: str, broker_url: str) -> Deployment:
    if host == "single":
        return SingleProcess(broker_url)
    return InProcessFleet(broker_url) if broker_url == MEMORY_URL else Fleet(broker_url)
