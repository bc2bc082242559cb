"""The failures that we know of, each with its reason: expected_failures.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tests.conformance.errors import CannotRun

FILE: Final = Path(__file__).parent / "expected_failures.toml"


class Expected(BaseModel):
    """One check (`scenario:check-id`) or whole scenario (`scenario`) that fails, where, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    check: str = Field(min_length=1)
    backends: frozenset[str] = Field(min_length=1)
    versions: frozenset[str] = Field(min_length=1)
    reason: str = Field(min_length=10)


class _Listed(BaseModel):
    model_config = ConfigDict(extra="forbid")

    expected: list[Expected] = Field(default_factory=list[Expected])


def reasons(backend: str, version: str, listed: Iterable[Expected]) -> dict[str, str]:
    """Why what fails with this backend and version; the keys are what the suite calls a baseline."""
    return {one.check: one.reason for one in listed if backend in one.backends and version in one.versions}


def read(file: Path = FILE) -> list[Expected]:
    """Everything that is listed.

    Raises:
        CannotRun: the file is not as it must be, as when a reason is missing.
    """
    try:
        return _Listed.model_validate(tomllib.loads(file.read_text())).expected
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise CannotRun(f"{file}: {error}") from error
