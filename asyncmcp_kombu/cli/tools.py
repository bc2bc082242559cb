"""`asyncmcp-kombu tools` and `asyncmcp-kombu call`: a fleet from a shell."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from mcp import Client
from mcp_types import Tool
from rich.table import Table

from asyncmcp_kombu.cli.bar import Bar
from asyncmcp_kombu.cli.options import BrokerUrl, Server, Timeout, settings_from
from asyncmcp_kombu.cli.session import MISUSED, errors, explain, run, session
from asyncmcp_kombu.cli.showing import out, print_json, show
from asyncmcp_kombu.cli.tasks import Watched, start, still_running
from asyncmcp_kombu.client.tasks import TasksExtension
from asyncmcp_kombu.errors import ConfigurationError
from asyncmcp_kombu.settings import Settings

_PATIENCE = 300.0
"""Seconds for which `call` waits for an answer by default; a tool that takes longer should be a task."""


def tools(
    server: Server = None,
    broker_url: BrokerUrl = None,
    timeout: Timeout = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the tools with their schemas as JSON.")] = False,
) -> None:
    """List the tools that a fleet offers."""
    settings = _settings(server, broker_url)

    async def command() -> None:
        async with session(settings, timeout, extensions=[TasksExtension()]) as client:
            found = await _all_tools(client)
        if as_json:
            print_json([tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in found])
            return
        table = Table(box=None, header_style="bold")
        for column in ("tool", "arguments", "what it does"):
            table.add_column(column, no_wrap=column == "tool")
        for tool in found:
            table.add_row(tool.name, _arguments(tool), (tool.description or "").strip().partition("\n")[0])
        out.print(table)

    run(command)


def call(
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="Name of the tool; `asyncmcp-kombu tools` lists them.")],
    arguments: Annotated[str, typer.Argument(metavar="JSON", help='Arguments, as \'{"a": 1, "b": 2}\'.')] = "{}",
    as_task: Annotated[
        bool,
        typer.Option("--task", help="Do not wait: print the id of the task that the call becomes, for `watch`."),
    ] = False,
    server: Server = None,
    broker_url: BrokerUrl = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            min=0.1,
            metavar="SECONDS",
            help="How long to wait for an answer.  \\[default: 300, but for a task as long as it takes]",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole MCP result as JSON.")] = False,
) -> None:
    """Call a tool and print its result; a tool that reports progress gets a progress bar.

    A call that becomes a task is waited for like any other; Ctrl+C cancels it. With [bold]--task[/] it goes on by
    itself: [bold]ID=$(asyncmcp-kombu call TOOL JSON --task)[/], then [bold]asyncmcp-kombu watch $ID[/].

    Exit codes: 0 the tool answered; 1 it failed, or made no task; 2 the command line is wrong; 3 nobody answered.
    """
    given = _parse(arguments)
    settings = _settings(server, broker_url)

    async def command() -> None:
        with Bar(tool) as bar:
            watched = Watched(bar, server)
            async with session(settings, timeout or _PATIENCE, **watched.options) as client:
                if as_task:
                    await start(client, watched.tasks, tool, given, server, as_json)
                    return
                try:
                    result = await client.call_tool(
                        tool, given, read_timeout_seconds=timeout, progress_callback=bar.progress
                    )
                except TimeoutError:
                    if watched.task is None or timeout is None:
                        raise
                    raise still_running(watched.task, server, timeout) from None
        show(result, as_json)

    run(command)


def _settings(server: str | None, broker_url: str | None) -> Settings:
    try:
        return settings_from(server, broker_url)
    except ConfigurationError as error:
        explain(error)


def _parse(arguments: str) -> dict[str, Any]:
    try:
        given = json.loads(arguments)
    except ValueError as error:
        problem = f"not JSON: {error}"
    else:
        if isinstance(given, dict):
            return given
        problem = "not a JSON object"
    errors.print(f"[red]arguments[/]: {problem}. Expected an object in quotes, as ", end="")
    errors.print('\'{"a": 1, "b": 2}\'', markup=False)
    raise typer.Exit(MISUSED)


async def _all_tools(client: Client) -> list[Tool]:
    found: list[Tool] = []
    cursor: str | None = None
    while True:
        page = await client.list_tools(cursor=cursor)
        found.extend(page.tools)
        cursor = page.next_cursor
        if cursor is None:
            return found


def _arguments(tool: Tool) -> str:
    required = set(tool.input_schema.get("required", ()))
    properties: dict[str, Any] = tool.input_schema.get("properties", {})
    return ", ".join(name if name in required else f"[{name}]" for name in properties).replace("[", r"\[")
