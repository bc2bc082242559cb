"""The rooms of DESIGN section 7: arrows point down, and who may import what."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "asyncmcp_kombu"
FILES = sorted(PACKAGE.rglob("*.py"))

ALLOWED = {
    "errors": set(),
    "topology": {"errors"},
    "envelope": {"errors"},
    "settings": {"envelope", "topology"},
    "local": {"errors"},
    "broker": {"errors", "topology", "envelope", "settings"},
    "client": {"errors", "topology", "envelope", "settings", "broker"},
    "server": {"errors", "topology", "envelope", "settings", "broker"},
    "worker": {"errors", "topology", "envelope", "settings", "broker", "server"},
    "fleet": {"errors", "topology", "envelope", "settings", "broker", "server", "worker"},
    "cli": {"errors", "topology", "envelope", "settings", "broker", "client", "local"},
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_rooms_below_its_own(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("asyncmcp_kombu."):
            target = node.module.split(".")[1]
            assert target == room or target in ALLOWED[room], f"{path.name} imports {node.module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_is_one_idea_of_at_most_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("asyncmcp_kombu", ["celery", "kombu", "boto3", "mcp"]),
        ("asyncmcp_kombu.client.transport", ["celery", "boto3"]),
        ("asyncmcp_kombu.server.serve", ["celery", "boto3"]),
        ("asyncmcp_kombu.worker.intake", ["boto3"]),
    ],
)
def test_nobody_imports_what_he_does_not_need(module: str, never: list[str]) -> None:
    code = f"import sys, {module}; print([name for name in {never!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
