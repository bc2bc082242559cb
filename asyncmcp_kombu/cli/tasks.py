"""`asyncmcp-kombu watch` and `cancel`, and what `call` does with tasks: calls that outlive their command."""

from __future__ import annotations

import shlex
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import typer
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types.jsonrpc import METHOD_NOT_FOUND

from asyncmcp_kombu.cli.asking import asking, at_the_terminal
from asyncmcp_kombu.cli.bar import Bar
from asyncmcp_kombu.cli.options import BrokerUrl, Server, Timeout, settings_from
from asyncmcp_kombu.cli.session import FAILED, errors, explain, run, session
from asyncmcp_kombu.cli.showing import out, print_json, show
from asyncmcp_kombu.client.tasks import TasksExtension
from asyncmcp_kombu.errors import AsyncMcpError, ConfigurationError, TaskFailed
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.task_state import Task

TaskId = Annotated[str, typer.Argument(metavar="TASK_ID", help="What `asyncmcp-kombu call … --task` printed.")]


def watch(
    task_id: TaskId,
    server: Server = None,
    broker_url: BrokerUrl = None,
    timeout: Timeout = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole MCP result as JSON.")] = False,
) -> None:
    """Watch a task until it ends, and print its result as `call` does; from any machine, as often as you like.

    Ctrl+C stops watching, not the task. What the task asks is asked here, if this is a terminal.

    Exit codes: 0 the tool answered; 1 it failed, was cancelled, or there is no such task; 2 the command line is wrong;
    3 nobody answered.
    """
    settings = _settings(server, broker_url, task_id)

    async def command() -> None:
        with Bar(task_id[:12]) as bar:
            watched = Watched(bar, server)
            async with session(settings, timeout, **watched.options) as client, _explained(settings):
                result = await watched.tasks.resume(client, task_id).result(answer=at_the_terminal())
        show(result, as_json)

    try:
        run(command)
    except typer.Exit as error:
        if error.exit_code == 130:
            again = command_for("watch", task_id, server)
            errors.print(f"No longer watched; the task goes on: {again}", markup=False, soft_wrap=True)
        raise


def cancel(
    task_id: TaskId,
    server: Server = None,
    broker_url: BrokerUrl = None,
    timeout: Timeout = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the task as JSON.")] = False,
) -> None:
    """Cancel a task: one that waits never starts; a tool that runs is told, and stops when it looks or awaits.

    Exit codes: 0 it is cancelled; 1 it had ended otherwise, or there is no such task; 2 the command line is wrong;
    3 nobody answered.
    """
    settings = _settings(server, broker_url, task_id)

    async def command() -> None:
        tasks = TasksExtension()
        async with session(settings, timeout, extensions=[tasks]) as client, _explained(settings):
            handle = tasks.resume(client, task_id)
            await handle.cancel()
            task = await handle.status()
        if as_json:
            print_json(task.on_the_wire())
        elif task.status == "cancelled":
            out.print("cancelled")
        if task.status != "cancelled":
            result = command_for("watch", task_id, server)
            errors.print(f"The task had {task.status} before. What came out: {result}", markup=False, soft_wrap=True)
            raise typer.Exit(FAILED)

    run(command)


async def start(
    client: Client, tasks: TasksExtension, tool: str, arguments: dict[str, Any], server: str | None, as_json: bool
) -> None:
    """Print the id of a new task on standard output, alone, and how to go on on standard error."""
    try:
        handle = await tasks.start(client, tool, arguments)
    except TaskFailed as answered:
        show(answered.result, as_json, target=errors)
        errors.print(
            f"{tool!r} answered at once (above): there is no task. Only tools with task=… make tasks, and those with "
            "task='auto' only of slow calls",
            markup=False,
            soft_wrap=True,
        )
        raise typer.Exit(FAILED) from None
    if as_json:
        print_json((await handle.status()).on_the_wire())
    else:
        out.print(handle.task_id, markup=False, soft_wrap=True)
    errors.print(f"Watch it: {command_for('watch', handle.task_id, server)}", markup=False, soft_wrap=True, style="dim")


class Watched:
    """A client's options by which a bar shows what tasks say, and a person at the terminal is asked what they ask."""

    def __init__(self, bar: Bar, server: str | None) -> None:
        self._bar, self._server = bar, server
        self._told: set[str] = set()
        self.task: Task | None = None
        self.tasks = TasksExtension(self._on_status)
        self.options: dict[str, Any] = {"extensions": [self.tasks]}
        if at_the_terminal():
            self.options["elicitation_callback"] = asking(bar)

    async def _on_status(self, task: Task) -> None:
        self.task = task
        self._bar.status(task)
        if at_the_terminal():
            return
        for key, request in (task.input_requests or {}).items():
            if key not in self._told:
                self._told.add(key)
                question = (request.get("params") or {}).get("message") or request.get("method")
                errors.print(
                    f"The task asks: {question}\n  To answer, in a terminal: "
                    f"{command_for('watch', task.task_id, self._server)}",
                    markup=False,
                    soft_wrap=True,
                )


def command_for(name: str, task_id: str, server: str | None) -> str:
    """A command line that can be copied."""
    return shlex.join(["asyncmcp-kombu", name, task_id, *(["--server", server] if server is not None else [])])


def still_running(task: Task, server: str | None, timeout: float) -> AsyncMcpError:
    """What a person reads who waited too short a time."""
    return AsyncMcpError(
        f"no result within {timeout:g} s; the task goes on: {command_for('watch', task.task_id, server)}"
    )


@asynccontextmanager
async def _explained(settings: Settings) -> AsyncGenerator[None]:
    try:
        yield
    except TaskFailed as failed:
        if failed.task is None or failed.task.error is None:
            raise
        raise MCPError.from_error_data(failed.error_data()) from None  # as `call` tells it
    except MCPError as error:
        if error.error.code != METHOD_NOT_FOUND:
            raise
        raise AsyncMcpError(
            f"server {settings.server!r} makes no tasks: none of its tools is declared with @mcp_task(task=…)"
        ) from None


def _settings(server: str | None, broker_url: str | None, task_id: str) -> Settings:
    try:
        if not task_id.strip():
            raise ConfigurationError("the task id is empty; `asyncmcp-kombu call TOOL JSON --task` prints one")
        return settings_from(server, broker_url)
    except ConfigurationError as error:
        explain(error)
