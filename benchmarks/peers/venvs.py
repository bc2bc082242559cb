"""The peers, each in an environment of its own in this user's cache directory, installed when first needed.

`asyncmcp` 0.2.1 needs mcp 1. `fastmcp` 4.1.4 asks for a certifi that is not everywhere to be had yet, so its
requirements are installed without that pin. A peer that cannot be installed is reported as absent.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ASYNCMCP = ("asyncmcp==0.2.1", "mcp<2")
FASTMCP = ("fastmcp==4.1.4", "fastmcp-slim==4.1.4", "fastmcp-tasks==4.1.4")
_TIMEOUT = 600.0

_REQUIREMENTS = """
from importlib.metadata import requires
from packaging.requirements import Requirement
wanted = []
for name in ("fastmcp", "fastmcp-slim", "fastmcp-tasks"):
    for text in requires(name) or ():
        one = Requirement(text)
        extras = ("", "client", "server")
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras):
            if not one.name.lower().startswith(("fastmcp", "certifi")):
                one.marker = None
                wanted.append(str(one))
print("\\n".join(wanted))
"""


class AbsentError(Exception):
    """A peer cannot be measured; the text says why."""


def python_of(peer: str) -> str:
    """The Python with the peer (`asyncmcp` or `fastmcp`) installed.

    Raises:
        AbsentError: it cannot be installed.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "asyncmcp-kombu" / "bench" / peer
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        print(f"installing {peer} into {home} …", file=sys.stderr)
        _run(sys.executable, "-m", "venv", "--clear", str(home))
        if peer == "asyncmcp":
            _run(str(python), "-m", "pip", "install", "-q", *ASYNCMCP)
        else:
            _run(str(python), "-m", "pip", "install", "-q", "--no-deps", *FASTMCP)
            _run(str(python), "-m", "pip", "install", "-q", "packaging")
            wanted = _run(str(python), "-c", _REQUIREMENTS).split("\n")
            _run(str(python), "-m", "pip", "install", "-q", "certifi", *filter(None, wanted))
        (home / "complete").touch()
    return str(python)


def _run(*argv: str) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise AbsentError(f"{argv[0]} did not finish within {_TIMEOUT:.0f} s") from None
    if done.returncode:
        raise AbsentError((done.stderr.strip().splitlines() or ["failed"])[-1])
    return done.stdout
