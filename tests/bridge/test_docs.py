"""docs/bridge.md: its snippets are what they claim to be."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from typer.testing import CliRunner

from asyncmcp_kombu.cli.main import app

PAGE = (Path(__file__).parents[2] / "docs/bridge.md").read_text()


def blocks(language: str) -> list[str]:
    return [text for name, text in re.findall(r"```(\w*)\n(.*?)```", PAGE, re.S) if name == language]


def commands() -> list[list[str]]:
    """Every command line of ours on the page."""
    found = [
        [server["command"], *server["args"]]
        for block in blocks("json")
        for kind in ("servers", "mcpServers")
        for server in json.loads(block).get(kind, {}).values()
        if "command" in server
    ]
    for line in "\n".join(blocks("")).splitlines():
        if "asyncmcp-kombu" in line:
            words = shlex.split(line, comments=True)
            found.append(words[words.index("asyncmcp-kombu") :])
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_the_commands_on_the_page_have_the_options_they_use(command: list[str]) -> None:
    assert command[:2] == ["asyncmcp-kombu", "bridge"]
    # `--help` at the end: everything before it is parsed, nothing is done.
    shown = CliRunner().invoke(app, [*command[1:], "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.stderr
    for word in command[2:]:
        assert not word.startswith("--") or word in shown.stdout


def test_the_app_of_the_page_is_one() -> None:
    (example,) = blocks("python")
    names: dict[str, Any] = {}
    exec(compile(example, "bridge.md", "exec"), names)
    assert isinstance(names["app"], Starlette)


def test_there_are_snippets() -> None:
    assert len(commands()) >= 7
