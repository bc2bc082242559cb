"""The suite itself: every test says what it proves, and is known by one name."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.interaction.spec import OURS

HERE = Path(__file__).parent
VERSIONS = ("2025-11-25/", "2026-07-28/")
TESTS: list[tuple[str, Any]] = [
    (name, test)
    for path in sorted(HERE.glob("test_*.py"))
    if path.stem not in ("test_spec", "test_on_fleets")
    for name, test in vars(import_module(f"tests.interaction.{path.stem}")).items()
    if name.startswith("test_")
]


def test_every_test_is_linked_to_a_sentence() -> None:
    for name, test in TESTS:
        links = [mark.args for mark in getattr(test, "pytestmark", ()) if mark.name == "requirement"]
        assert links, name
        for where, sentence in links:
            assert where.startswith((*OURS, *VERSIONS)), (name, where)
            assert sentence.endswith("."), (name, sentence)


def test_every_test_has_a_name_of_its_own() -> None:
    """test_on_fleets.py has them all in one module."""
    assert [name for name, count in Counter(name for name, _ in TESTS).items() if count > 1] == []
