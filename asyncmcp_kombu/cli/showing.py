"""What commands print of a tool's result."""

from __future__ import annotations

import json
from typing import Any

import typer
from mcp_types import CallToolResult
from rich.console import Console

from asyncmcp_kombu.cli.session import FAILED, errors

out = Console(highlight=False)


def show(result: CallToolResult, as_json: bool, *, target: Console = out) -> None:
    """Print a result, that of a tool that failed on standard error; which ends the command with exit code 1."""
    if as_json:
        print_json(result.model_dump(mode="json", by_alias=True, exclude_none=True), target)
    elif result.structured_content is not None and not result.is_error:
        value = result.structured_content
        print_json(value["result"] if value.keys() == {"result"} else value, target)
    else:
        for block in result.content:
            text = getattr(block, "text", None)
            (errors if result.is_error else target).print(
                text if text is not None else f"<{block.type}>",
                markup=False,
                style="red" if result.is_error else "",
            )
    if result.is_error:
        raise typer.Exit(FAILED)


def print_json(value: Any, target: Console = out) -> None:
    """Text as it is, anything else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    target.print(text, markup=False, soft_wrap=True)
