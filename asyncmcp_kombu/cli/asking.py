"""Questions of a tool, asked on the terminal: MCP elicitation for a person at a shell."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
from mcp.client import ClientRequestContext
from mcp_types import ElicitRequestParams, ElicitRequestURLParams, ElicitResult

from asyncmcp_kombu.cli.bar import Bar
from asyncmcp_kombu.cli.session import errors

_YES, _NO = frozenset({"y", "yes", "true", "1"}), frozenset({"n", "no", "false", "0"})

Elicit = Callable[[ClientRequestContext, ElicitRequestParams], Awaitable[ElicitResult]]


def at_the_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()


def asking(bar: Bar) -> Elicit:
    """The elicitation callback of a client. End of input (Ctrl+D) declines."""

    async def elicit(_: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        with bar.paused():
            errors.print(params.message, markup=False, style="bold")
            try:
                if isinstance(params, ElicitRequestURLParams):
                    await _line(f"  open {params.url} and press Enter when done (Ctrl+D declines) ")
                    return ElicitResult(action="accept")
                return ElicitResult(action="accept", content=await _form(params.requested_schema))
            except EOFError:
                errors.print("declined")
                return ElicitResult(action="decline")

    return elicit


async def _form(schema: Mapping[str, Any]) -> dict[str, Any]:
    required: frozenset[str] = frozenset(schema.get("required") or ())
    content: dict[str, Any] = {}
    for name, field in schema["properties"].items():
        while True:
            text = await _line(f"  {described(name, field, required=name in required)}: ")
            try:
                if text:
                    content[name] = parsed(text, field)
                elif "default" in field:
                    content[name] = field["default"]
                elif name in required:
                    raise ValueError("an answer is needed; Ctrl+D declines")
            except ValueError as error:
                errors.print(f"    {error}", markup=False, style="red")
            else:
                break
    return content


async def _line(prompt: str) -> str:
    """A line of the terminal, which Ctrl+C interrupts."""
    errors.print(prompt, end="", markup=False, soft_wrap=True)
    await anyio.wait_readable(sys.stdin)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.strip()


def described(name: str, field: Mapping[str, Any], *, required: bool) -> str:
    """A field of a form in a line: what it is, what fits, what is taken when nothing is entered."""
    choices = choices_of(field)
    fits = "y/n" if field.get("type") == "boolean" else ", ".join(choices) or str(field.get("type", "string"))
    many = "any of, with commas: " if field.get("type") == "array" else ""
    about = f" – {field['description']}" if field.get("description") else ""
    default = f", default {field['default']}" if "default" in field else "" if required else ", may be empty"
    return f"{field.get('title') or name}{about} ({many}{fits}{default})"


def choices_of(field: Mapping[str, Any]) -> list[str]:
    """The values of a choice; empty for other fields."""
    field = field.get("items") or field
    titled: list[Any] = field.get("oneOf") or field.get("anyOf") or []
    return [str(one) for one in field.get("enum") or [one["const"] for one in titled if "const" in one]]


def parsed(text: str, field: Mapping[str, Any]) -> Any:
    """What was entered, as the field's type.

    Raises:
        ValueError: it does not fit; the text says what would.
    """
    choices, kind = choices_of(field), field.get("type")
    entered = [part.strip() for part in text.split(",")] if kind == "array" else [text]
    if choices and (wrong := [one for one in entered if one not in choices]):
        raise ValueError(f"{', '.join(wrong)}: expected one of {', '.join(choices)}")
    if kind == "array":
        return entered
    if kind == "boolean":
        if text.lower() not in _YES | _NO:
            raise ValueError("expected y or n")
        return text.lower() in _YES
    if kind in ("integer", "number"):
        try:
            return int(text) if kind == "integer" else float(text)
        except ValueError:
            raise ValueError(f"expected a{'n integer' if kind == 'integer' else ' number'}") from None
    return text
