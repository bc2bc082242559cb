"""@mcp_task: a function becomes a Celery task and an MCP tool, and stays a function.

Like Celery's `shared_task` it belongs to no app: it may be used before or after `serve_mcp`, in any module
that the worker imports.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, get_args, overload

from celery import Celery, Task, shared_task
from celery.local import Proxy
from celery.result import AsyncResult
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types import Icon, ToolAnnotations

from asyncmcp_kombu.errors import CallError, ConfigurationError
from asyncmcp_kombu.settings import Dedupe
from asyncmcp_kombu.worker.call import HEADER, from_header
from asyncmcp_kombu.worker.deferral import JOB
from asyncmcp_kombu.worker.execution import execute, run_async

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
Delivery = Literal["at-least-once", "at-most-once"]
TaskMode = Literal["auto", "optional", "required", "never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOptions:
    """What `@mcp_task` says about a tool besides Celery's options."""

    name: str | None = None
    title: str | None = None
    description: str | None = None
    annotations: ToolAnnotations | None = None
    icons: list[Icon] | None = None
    meta: dict[str, Any] | None = None
    structured_output: bool | None = None
    delivery: Delivery = "at-least-once"
    task: TaskMode = "never"
    ttl: float | None = None
    terminate: bool = False
    dedupe: Dedupe | None = None


class ToolTask(Protocol, Generic[P, R_co]):
    """An `@mcp_task` function: call it as the function it is, or use it as a Celery task."""

    name: str
    app: Celery

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    def delay(self, *args: Any, **kwargs: Any) -> AsyncResult: ...
    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> AsyncResult: ...
    def retry(self, *args: Any, **options: Any) -> Exception: ...


class McpTask(Task):
    """Base class of tool tasks. A request in the header `mcp` is served and answered; else the task just runs."""

    abstract = True
    Request = "asyncmcp_kombu.worker.request:McpRequest"
    Strategy = "asyncmcp_kombu.worker.strategy:strategy"
    throws = (ToolError, MCPError, CallError)
    """What a tool raises deliberately: Celery logs it in one line, without a traceback."""
    mcp_tool: ToolOptions | None = None
    mcp_function: Callable[..., Any] | None = None
    """The author's function, where `run` is not it (async tools)."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        request = self.request
        header = request.get(HEADER)
        if request.called_directly or request.get("mcp_serving"):
            return (self.mcp_function or self.run)(*args, **kwargs)
        if header is None:
            return self.run(*args, **kwargs)
        request.mcp_serving = True
        return execute(self, from_header(header, kwargs), header.get(JOB))


wrapped_tasks: list[tuple[Any, ToolOptions]] = []
"""Existing Celery tasks (or Celery's promises of them) that `mcp_task` was put around."""


@overload
def mcp_task(fn: Callable[P, R], /) -> ToolTask[P, R]: ...
@overload
def mcp_task(
    *,
    name: str | None = None,
    title: str | None = None,
    description: str | None = None,
    annotations: ToolAnnotations | None = None,
    icons: list[Icon] | None = None,
    meta: dict[str, Any] | None = None,
    structured_output: bool | None = None,
    queue: str | None = None,
    delivery: Delivery = "at-least-once",
    task: TaskMode = "never",
    ttl: float | None = None,
    terminate: bool = False,
    dedupe: Dedupe | None = None,
    **celery_options: Any,
) -> Callable[[Callable[P, R]], ToolTask[P, R]]: ...
def mcp_task(fn: Any = None, /, **options: Any) -> Any:
    """Make a function, sync or `async def`, or an existing Celery task, an MCP tool.

    Args:
        name: the tool's and the task's name; default: the function's (an existing task keeps its own).
        title, description, annotations, icons, meta, structured_output: as for the SDK's `MCPServer.tool`.
        queue: run the tool from this Celery queue (`celery -A workers worker -Q gpu`) instead of at once
            by whoever received the call.
        delivery: `at-least-once`, or `at-most-once`: never started twice; when its worker dies the caller is told that
            the outcome is unknown (docs/reliability.md).
        task: whether a call may outlive its request (the Tasks extension, docs/tasks.md): `auto`, when it takes longer
            than a short budget; `optional`, at once for every client that knows the extension; `required`, and only
            for those; `never` (default).
        ttl: seconds after its creation in which such a task can be asked for; default: ASYNCMCP_TASK_TTL, a day.
        terminate: end the pool's process that runs the tool when its caller cancels: for sync tools that do not look
            whether they are cancelled. In the prefork pool only.
        dedupe: when a call that has been answered before is answered from its record and not run again:
            `redelivered`, when the broker delivers it again; `always`, also when its client sends it again; `off`.
            Default: ASYNCMCP_DEDUPE, `redelivered` (docs/reliability.md).
        celery_options: Celery's own, with Celery's meaning: `bind`, `rate_limit`, `time_limit`,
            `soft_time_limit`, `autoretry_for`, `max_retries`, `retry_backoff`, …

    The tool's input and output schemas come from its type hints; a parameter annotated with the SDK's
    `Context` is hidden from them and filled in. The result is still callable as the function, and has
    Celery's `delay` and `apply_async`.

    Raises:
        ConfigurationError: an option cannot be used.
    """
    if fn is None:
        return functools.partial(_declare, options=options)
    return _declare(fn, options=options)


def _declare(fn: Any, *, options: dict[str, Any]) -> Any:
    tool = ToolOptions(**{key: options.pop(key) for key in ToolOptions.__slots__ if key in options})
    if tool.delivery not in ("at-least-once", "at-most-once"):
        raise ConfigurationError(f"delivery={tool.delivery!r}: expected 'at-least-once' (default) or 'at-most-once'")
    if tool.task not in get_args(TaskMode):
        raise ConfigurationError(f"task={tool.task!r}: expected one of {', '.join(map(repr, get_args(TaskMode)))}")
    if tool.dedupe is not None and tool.dedupe not in get_args(Dedupe):
        raise ConfigurationError(f"dedupe={tool.dedupe!r}: expected one of {', '.join(map(repr, get_args(Dedupe)))}")
    if tool.ttl is not None and tool.ttl <= 0:
        raise ConfigurationError(f"ttl={tool.ttl!r}: expected seconds, more than 0")
    if tool.task != "never" and tool.delivery == "at-most-once":
        raise ConfigurationError("task= and delivery='at-most-once' exclude each other: a task survives its worker")
    if issubclass(type(fn), Proxy | Task):
        if options or tool.name is not None:
            names = ", ".join(sorted([*options, *(["name"] if tool.name else [])]))
            raise ConfigurationError(
                f"{names}: an existing Celery task keeps its own name and options; set them where it is declared"
            )
        wrapped_tasks.append((fn, tool))
        return fn
    name = tool.name or fn.__name__
    options.setdefault("acks_late", tool.delivery == "at-least-once")
    if not inspect.iscoroutinefunction(fn):
        return shared_task(name=name, base=McpTask, mcp_tool=tool, typing=False, **options)(fn)
    if options.get("bind"):
        raise ConfigurationError(
            f"tool {name!r}: bind=True is for sync tools; an async tool is no method of its task. "
            "Use celery.current_task, or autoretry_for to retry"
        )

    @functools.wraps(fn)
    def run(self: Task, *args: Any, **kwargs: Any) -> Any:
        return run_async(self, fn, *args, **kwargs)

    return shared_task(
        name=name,
        base=McpTask,
        mcp_tool=tool,
        mcp_function=staticmethod(fn),
        typing=False,
        bind=True,
        **options,
    )(run)


def adopt(task: Task, tool: ToolOptions) -> None:
    """Give an existing Celery task the behaviour of `McpTask`, at worker start.

    It is acknowledged late from then on, for all its callers, unless it was declared at-most-once: a call is
    acknowledged when it is answered.
    """
    if not isinstance(task, McpTask):
        cls = type(task)
        task.__class__ = type(cls.__name__, (McpTask, cls), {"__module__": cls.__module__, "abstract": False})
    task.mcp_tool = tool
    task.Request, task.Strategy = McpTask.Request, McpTask.Strategy
    task.acks_late = tool.delivery == "at-least-once"
