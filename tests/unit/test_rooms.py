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
    "task_state": set(),
    "topology": {"errors"},
    "envelope": {"errors"},
    "settings": {"envelope", "topology"},
    "local": {"errors"},
    "broker": {"errors", "topology", "envelope", "settings"},
    "client": {"errors", "task_state", "topology", "envelope", "settings", "broker"},
    "server": {"errors", "topology", "envelope", "settings", "broker"},
    "worker": {"errors", "topology", "envelope", "settings", "broker", "server"},
    "tasks": {"errors", "task_state", "topology", "envelope", "settings", "broker", "server", "worker"},
    "fleet": {"errors", "topology", "envelope", "settings", "broker", "server", "worker", "tasks"},
    "sqs": {"errors", "topology", "envelope", "settings", "broker", "client", "server"},
    "sns_sqs": {"errors", "topology", "envelope", "settings", "broker", "client", "server", "sqs"},
    "bridge": {"errors", "topology", "envelope", "settings", "broker", "client"},
    "cli": {
        *("errors", "task_state", "topology", "envelope", "settings"),
        *("broker", "client", "server", "bridge", "local"),
    },
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


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_sqs_transport_and_its_faces_import_boto3(path: Path) -> None:
    place = str(path.relative_to(PACKAGE))
    if place.startswith(("broker/sqs", "sqs/", "sns_sqs/", "local/")):
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            for name in names:
                assert name.partition(".")[0] not in ("boto3", "botocore"), f"{place} imports {name}"
                assert not name.startswith("asyncmcp_kombu.broker.sqs"), f"{place} imports {name}"


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("asyncmcp_kombu", ["celery", "kombu", "boto3", "mcp"]),
        ("asyncmcp_kombu.client.transport", ["celery", "boto3"]),
        ("asyncmcp_kombu.client.tasks", ["celery", "boto3", "sqlalchemy"]),
        ("asyncmcp_kombu.server.serve", ["celery", "boto3", "sqlalchemy"]),
        ("asyncmcp_kombu.server.transport", ["celery", "boto3", "sqlalchemy"]),
        ("asyncmcp_kombu.bridge.http", ["celery", "boto3", "sqlalchemy"]),
        ("asyncmcp_kombu.bridge.stdio", ["celery", "boto3", "sqlalchemy"]),
        ("asyncmcp_kombu.worker.intake", ["boto3"]),
        ("asyncmcp_kombu.bridge.http", ["celery", "boto3", "asyncmcp_kombu.server", "asyncmcp_kombu.worker"]),
    ],
)
def test_nobody_imports_what_he_does_not_need(module: str, never: list[str]) -> None:
    code = f"import sys, {module}; print([name for name in {never!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
