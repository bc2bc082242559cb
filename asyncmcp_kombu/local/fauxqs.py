"""fauxqs through npm: fetched on first use into this user's cache directory, with a Node that can run it.

Both versions are pinned. An unpinned `npm install fauxqs` under an older Node silently takes 1.9.2, which
cannot keep messages; and fauxqs 2 needs `node:sqlite`, which Node has since 22.5.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from asyncmcp_kombu.local.errors import LocalEngineError

PACKAGES: Final = ("fauxqs@2.4.1", "node@22")
INSTALL_TIMEOUT: Final = 600.0
"""Seconds that npm may take; it fetches about 230 MB."""


def home() -> Path:
    """Where fauxqs lives: `asyncmcp-kombu/fauxqs-2.4.1` in the user's cache directory."""
    default = "~/Library/Caches" if sys.platform == "darwin" else "~/.cache"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or default).expanduser()
    return cache / "asyncmcp-kombu" / PACKAGES[0].replace("@", "-")


def paths(where: Path) -> tuple[Path, Path]:
    """The Node executable and the fauxqs module of an install in `where`, whether or not they exist."""
    modules = where / "node_modules"
    return modules / "node" / "bin" / "node", modules / "fauxqs" / "dist" / "app.js"


def installed() -> tuple[Path, Path]:
    """Paths of the Node executable and of the fauxqs module.

    Raises:
        LocalEngineError: fauxqs is not installed (any more).
    """
    node, app = paths(home())
    if not (node.exists() and app.exists()):
        raise LocalEngineError(f"fauxqs is not in {home()}; start the engine again to fetch it")
    return node, app


def install(say: Callable[[str], None]) -> None:
    """Fetch fauxqs and Node with npm, unless an earlier call did. `say` is told before and after.

    An interrupted install leaves nothing behind: the directory gets its name only when complete.

    Raises:
        LocalEngineError: npm is missing, fails, or takes more than 10 minutes.
    """
    target = home()
    if all(path.exists() for path in paths(target)):
        return
    npm = shutil.which("npm")
    if npm is None:
        raise LocalEngineError(
            "the engine 'fauxqs' is fetched with npm, and there is no npm on the PATH; "
            "install Node.js (https://nodejs.org), or use --engine ministack"
        )
    say(f"Fetching {' and '.join(PACKAGES)} with npm into {target} (once, about 230 MB) …")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetching-") as fresh:
        _npm_install(npm, Path(fresh))
        shutil.rmtree(target, ignore_errors=True)  # an incomplete one
        try:
            target.mkdir(exist_ok=True)
            Path(fresh, "node_modules").rename(target / "node_modules")
        except OSError as error:
            if not all(path.exists() for path in paths(target)):  # else another process was faster
                raise LocalEngineError(f"cannot put fauxqs into {target}: {error}") from error
    say("fauxqs is ready.")


def _npm_install(npm: str, where: Path) -> None:
    argv = [npm, "install", "--prefix", str(where), "--no-audit", "--no-fund", "--loglevel=error", *PACKAGES]
    shown = " ".join(argv)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=INSTALL_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise LocalEngineError(f"npm did not finish within {INSTALL_TIMEOUT:.0f} s: {shown}") from None
    missing = [str(path) for path in paths(where) if not path.exists()]
    if done.returncode or missing:
        why = f"exit code {done.returncode}" if done.returncode else f"it left out {', '.join(missing)}"
        tail = "\n".join(done.stderr.strip().splitlines()[-15:])
        raise LocalEngineError(f"npm could not install fauxqs ({why}): {shown}\n{tail}")
