"""The list of expected failures can be read, and names backends and versions that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance import expected
from tests.conformance.backends import BACKENDS
from tests.conformance.errors import CannotRun
from tests.conformance.suite import CHECKS


def test_every_entry_names_known_backends_and_versions() -> None:
    for one in expected.read():
        assert one.backends <= set(BACKENDS), one.check
        assert one.versions <= set(CHECKS), one.check


def test_an_entry_without_a_reason_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "expected.toml"
    file.write_text('[[expected]]\ncheck = "ping"\nbackends = ["single"]\nversions = ["2025-11-25"]\n')
    with pytest.raises(CannotRun, match="reason"):
        expected.read(file)


def test_an_entry_counts_where_it_says_so_only(tmp_path: Path) -> None:
    file = tmp_path / "expected.toml"
    file.write_text(
        '[[expected]]\ncheck = "ping"\nbackends = ["single"]\nversions = ["2025-11-25"]\nreason = "it is not there"\n'
    )
    listed = expected.read(file)
    assert expected.reasons("single", "2025-11-25", listed) == {"ping": "it is not there"}
    assert expected.reasons("fleet", "2025-11-25", listed) == {}
