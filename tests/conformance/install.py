"""The suite, the Inspector, and a Node.js that runs them, fetched once with npm into node_modules beside this file."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.conformance.errors import CannotRun

_HERE: Final = Path(__file__).parent
_MODULES: Final = _HERE / "node_modules"
_SUITE: Final = "@modelcontextprotocol/conformance"
_INSPECTOR: Final = "@modelcontextprotocol/inspector"
_NODE: Final = "node"
_TIMEOUT = 600


@dataclass(frozen=True, slots=True)
class Commands:
    """What was fetched, as the beginnings of command lines."""

    suite: list[str]
    inspector: list[str]


def installed(say: Callable[[str], None]) -> Commands:
    """The commands; fetched before, unless that was done already.

    Raises:
        CannotRun: there is no npm, or it fails.
    """
    if not _complete():
        npm = shutil.which("npm")
        if npm is None:
            raise CannotRun(
                "the conformance suite and the Inspector are fetched with npm, and there is no npm on the PATH; "
                "install Node.js (https://nodejs.org)"
            )
        say(f"Fetching the suite, the Inspector and Node.js with npm into {_MODULES} (once, about 330 MB) …")
        _fetch([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"])
    node = str(_MODULES / _NODE / "bin" / "node")
    inspector = _MODULES / _INSPECTOR / "clients" / "launcher" / "build" / "index.js"
    return Commands(
        suite=[node, str(_MODULES / _SUITE / "dist" / "index.js"), "server"], inspector=[node, str(inspector), "--cli"]
    )


def _complete() -> bool:
    """Whether what package.json wants is there; npm writes the lock file in node_modules last."""
    wanted = json.loads((_HERE / "package.json").read_text())["dependencies"]
    try:
        found = {name: _version(name) for name in (_SUITE, _INSPECTOR, _NODE)}
    except (OSError, ValueError, KeyError):
        return False
    return found == wanted and (_MODULES / ".package-lock.json").exists()


def _version(package: str) -> str:
    return json.loads((_MODULES / package / "package.json").read_text())["version"]


def _fetch(argv: list[str]) -> None:
    try:
        done = subprocess.run(argv, cwd=_HERE, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise CannotRun(f"npm did not finish within {_TIMEOUT} s: {' '.join(argv)} (in {_HERE})") from None
    if done.returncode or not _complete():
        tail = "\n".join(done.stderr.strip().splitlines()[-15:])
        raise CannotRun(f"npm failed (exit code {done.returncode}): {' '.join(argv)} (in {_HERE})\n{tail}")
