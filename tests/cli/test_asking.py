"""What a person enters in a form, and what a task says in numbers: plain functions."""

from __future__ import annotations

from typing import Any

import pytest

from asyncmcp_kombu.cli.asking import described, parsed
from asyncmcp_kombu.cli.bar import numbers

COLOURS = {"type": "string", "enum": ["red", "blue"]}


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("Ada", {"type": "string"}, "Ada"),
        ("Y", {"type": "boolean"}, True),
        ("no", {"type": "boolean"}, False),
        ("-3", {"type": "integer"}, -3),
        ("2.5", {"type": "number"}, 2.5),
        ("blue", COLOURS, "blue"),
        ("b", {"type": "string", "oneOf": [{"const": "a", "title": "A"}, {"const": "b", "title": "B"}]}, "b"),
        ("red, blue", {"type": "array", "items": COLOURS}, ["red", "blue"]),
    ],
)
def test_what_is_entered_gets_the_fields_type(text: str, field: dict[str, Any], value: Any) -> None:
    assert parsed(text, field) == value


@pytest.mark.parametrize(
    ("text", "field", "says"),
    [
        ("perhaps", {"type": "boolean"}, "y or n"),
        ("1.5", {"type": "integer"}, "an integer"),
        ("much", {"type": "number"}, "a number"),
        ("green", COLOURS, "green: expected one of red, blue"),
        ("red, green", {"type": "array", "items": COLOURS}, "green"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(text: str, field: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parsed(text, field)


def test_a_prompt_says_what_fits() -> None:
    assert described("sure", {"type": "boolean", "title": "Sure?"}, required=True) == "Sure? (y/n)"
    assert described("n", {"type": "integer", "default": 3}, required=False) == "n (integer, default 3)"
    assert described("c", {**COLOURS, "description": "of the wall"}, required=False) == (
        "c – of the wall (red, blue, may be empty)"
    )


@pytest.mark.parametrize(
    ("said", "done", "total"),
    [
        ("step 3 of 10", 3, 10),
        ("2.5/5 GB", 2.5, 5),
        ("40 % done", 40, 100),
        ("thinking", 0, None),
        ("page 7", 0, None),
    ],
)
def test_progress_is_read_from_what_a_task_says(said: str, done: float, total: float | None) -> None:
    assert numbers(said) == (done, total)
