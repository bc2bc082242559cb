"""`asyncmcp-kombu tools` and `asyncmcp-kombu call`: a fleet from a shell."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from mcp import Client
from mcp_types import CallToolResult, Tool
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from asyncmcp_kombu.cli.options import BrokerUrl, Server, Timeout, settings_from
from asyncmcp_kombu.cli.session import FAILED, MISUSED, errors, explain, run, session
from asyncmcp_kombu.errors import ConfigurationError
from asyncmcp_kombu.settings import Settings

out = Console(highlight=False)


def tools(
    server: Server = None,
    broker_url: BrokerUrl = None,
    timeout: Timeout = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the tools with their schemas as JSON.")] = False,
) -> None:
    """List the tools that a fleet offers."""
    settings = _settings(server, broker_url)

    async def command() -> None:
        async with session(settings, timeout) as client:
            found = await _all_tools(client)
        if as_json:
            _print_json([tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in found])
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
    server: Server = None,
    broker_url: BrokerUrl = None,
    timeout: Timeout = 300.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole MCP result as JSON.")] = False,
) -> None:
    """Call a tool and print its result; a tool that reports progress gets a progress bar.

    Exit codes: 0 the tool answered; 1 it failed; 2 the command line is wrong; 3 nobody answered.
    """
    given = _parse(arguments)
    settings = _settings(server, broker_url)

    async def command() -> None:
        async with session(settings, timeout) as client:
            with Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TimeElapsedColumn(),
                console=errors,
                transient=True,
            ) as bar:
                shown = bar.add_task(tool, total=None, visible=False)

                async def on_progress(progress: float, total: float | None, message: str | None) -> None:
                    bar.update(shown, completed=progress, total=total, description=message or tool, visible=True)

                result = await client.call_tool(tool, given, progress_callback=on_progress)
        _show(result, as_json)

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


def _show(result: CallToolResult, as_json: bool) -> None:
    if as_json:
        _print_json(result.model_dump(mode="json", by_alias=True, exclude_none=True))
    elif result.structured_content is not None and not result.is_error:
        value = result.structured_content
        _print_json(value["result"] if value.keys() == {"result"} else value)
    else:
        for block in result.content:
            target = errors if result.is_error else out
            text = getattr(block, "text", None)
            target.print(
                text if text is not None else f"<{block.type}>",
                markup=False,
                style="red" if result.is_error else "",
            )
    if result.is_error:
        raise typer.Exit(FAILED)


def _print_json(value: Any) -> None:
    if isinstance(value, str):
        out.print(value, markup=False, soft_wrap=True)
    else:
        out.print(json.dumps(value, indent=2, ensure_ascii=False), markup=False, soft_wrap=True)
