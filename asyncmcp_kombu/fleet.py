"""serve_mcp: a Celery app serves MCP. Here worker and server are put together."""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.app import trace
from celery.concurrency import get_implementation
from celery.signals import worker_init
from mcp.server.mcpserver import MCPServer

from asyncmcp_kombu.broker import queues
from asyncmcp_kombu.broker.connection import ROADS, transport_options, use_our_transports
from asyncmcp_kombu.errors import ConfigurationError
from asyncmcp_kombu.server.keys import secret_keys
from asyncmcp_kombu.server.lowlevel import AnyServer, lowlevel_of
from asyncmcp_kombu.server.request_state import share_request_state
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.tasks.backend import OVERRIDES, default_result_backend
from asyncmcp_kombu.tasks.cleanup import Cleanup, check_expiry
from asyncmcp_kombu.tasks.install import install_tasks
from asyncmcp_kombu.tasks.modes import longest_ttl
from asyncmcp_kombu.tasks.runtime import TaskRuntime
from asyncmcp_kombu.topology import Topology
from asyncmcp_kombu.worker.control import Control
from asyncmcp_kombu.worker.intake import Intake
from asyncmcp_kombu.worker.limits import check_terminate, check_time_limits
from asyncmcp_kombu.worker.pool_sockets import make_directory
from asyncmcp_kombu.worker.registry import register_tools
from asyncmcp_kombu.worker.served import REQUEST_TASK, Served, remember, served_by
from asyncmcp_kombu.worker.tool import McpTask


def serve_mcp(app: Celery, server: AnyServer | None = None, *, settings: Settings | None = None) -> None:
    """Make the workers of a Celery app serve MCP under the server's name.

    Args:
        app: the app. Its own broker, result backend and queues are used where it configures them; else the
            broker of the settings, and a jobs queue named after the server.
        server: an existing `MCPServer`, low-level `Server` or FastMCP 4; default: a new one with the app's name. Its
            tools and every `@mcp_task` of the app are served.
        settings: default: from the environment.

    `sqs://` and `redis://` mean this package's transports for all of Kombu in this process from then on.

    Raises:
        ConfigurationError: a name is not legal for queues, or the app serves MCP already.
    """
    if served_by(app) is not None:
        raise ConfigurationError(f"app {app.main!r} serves MCP already; call serve_mcp once per app")
    if server is None:
        server = MCPServer(app.main or "workers")
    settings = settings or Settings()
    topology = Topology(lowlevel_of(server).name, settings.prefix)
    runtime = TaskRuntime(app, settings, topology)
    served = Served(server, topology, settings, deferral=runtime)
    remember(app, served)
    use_our_transports()
    app.add_defaults(_defaults(served))
    app.steps["consumer"].add(Control)
    app.steps["consumer"].add(Intake)
    app.steps["consumer"].add(Cleanup)
    app.loader.override_backends = {**OVERRIDES, **app.loader.override_backends}
    app.task(name=REQUEST_TASK, base=McpTask, acks_late=True, ignore_result=True)(_request_task)

    def prepare(sender: Any, **_: Any) -> None:
        if sender.app is app:
            _prepare(sender, served, runtime)

    worker_init.connect(prepare, weak=False)


def _defaults(served: Served) -> dict[str, Any]:
    """Celery settings below whatever the app itself configures."""
    settings, topology = served.settings, served.topology
    url = settings.broker_url.get_secret_value()
    return {
        "broker_url": url,
        "broker_transport_options": transport_options(url, settings),
        "broker_connection_retry_on_startup": True,
        **default_result_backend(settings),
        "worker_consumer": "asyncmcp_kombu.worker.consumer:Consumer",
        "task_default_queue": topology.jobs,
        "task_default_exchange": "",
        "task_default_routing_key": topology.jobs,
        "task_queues": [queues.jobs_queue(topology), queues.request_queue(topology)],
        # A call that waits behind a long one cannot be taken by an idle worker.
        "worker_prefetch_multiplier": 1,
        # How long Celery waits for the result of a child that has died (its own default: 10 s).
        "worker_lost_wait": 0.5,
    }


def _request_task() -> None:
    raise RuntimeError(f"the task {REQUEST_TASK!r} serves MCP requests and cannot be called")


def _prepare(worker: Any, served: Served, runtime: TaskRuntime) -> None:
    """Once per worker, before its pool starts: all modules are imported, so all tools are known."""
    app = worker.app
    try:
        if app.conf.broker_url.partition("://")[0] not in ROADS:
            raise ConfigurationError(
                f"broker {app.conf.broker_url.partition('://')[0]!r} of the app: MCP is carried over "
                f"{', '.join(sorted(ROADS))}"
            )
        tools = register_tools(app, served)
        keys = secret_keys(served.settings)
        share_request_state(served.lowlevel, keys, at_least=longest_ttl(tools, served.settings))
        install_tasks(served.lowlevel, runtime, tools)
        check_expiry(app, tools, served.settings)
        check_terminate(tools, get_implementation(worker.pool_cls).__module__)
        sync_tools = {name: task for name, task in tools.items() if task.mcp_function is None}
        check_time_limits(
            sync_tools,
            get_implementation(worker.pool_cls).__module__,
            soft=worker.soft_time_limit,
            hard=worker.time_limit,
        )
    except ConfigurationError as error:
        raise SystemExit(f"asyncmcp-kombu: {error}") from error
    make_directory()
    # Celery's own line has no arguments; its strategy looks this constant of Celery 5.7 up for each message.
    trace.LOG_RECEIVED = "Task %(name)s[%(id)s] received: args=%(args)s kwargs=%(kwargs)s"
    if served.topology.requests not in app.amqp.queues:
        app.amqp.queues.add(queues.request_queue(served.topology))
