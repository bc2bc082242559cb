"""asyncmcp, unmodified, in a virtual environment of its own: it needs mcp below 2, and we need 2.3.

Made once per user from the registry and kept in the cache directory. Without the registry a test is skipped on a
laptop and fails where `CI` is set.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

REQUIREMENTS = ("asyncmcp==0.2.1", "mcp<2", "starlette<1", "boto3")
_INSTALLING = 240
"""Seconds."""


@cache
def peer_python() -> str:
    """The interpreter of the environment."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "asyncmcp-kombu-tests"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    place = home / f"asyncmcp-0.2.1-py{version}"
    python = place / "bin" / "python"
    if not python.exists():
        home.mkdir(parents=True, exist_ok=True)
        problem = _make(place)
        if problem:
            text = f"asyncmcp cannot be installed: {problem}"
            if os.environ.get("CI"):
                pytest.fail(text)
            pytest.skip(text)
    return str(python)


def _make(place: Path) -> str:
    """What went wrong. Complete or not there: it is made beside its place and moved.

    A virtual environment works where it is moved to as long as only its interpreter is called.
    """
    draft = Path(tempfile.mkdtemp(prefix=place.name, dir=place.parent))
    try:
        for command in (
            [sys.executable, "-m", "venv", str(draft)],
            [str(draft / "bin" / "python"), "-m", "pip", "install", "--quiet", *REQUIREMENTS],
        ):
            done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALLING, check=False)
            if done.returncode:
                return done.stderr[-500:]
        try:
            draft.rename(place)
        except OSError:  # another test run was first
            if not (place / "bin" / "python").exists():
                raise
    except subprocess.TimeoutExpired:
        return f"not done in {_INSTALLING} s"
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return ""
