"""Keys: with what a server signs session ids and seals `requestState`, the same in all of its processes.

Without a configured key one is made once per user and machine, so that workers on one machine agree and survive
a restart. A fleet on several machines must configure one (ASYNCMCP_SECRET_KEY).
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import os
import secrets
from functools import cache
from pathlib import Path

from asyncmcp_kombu.settings import SHORTEST_KEY, Settings

logger = logging.getLogger(__name__)


def secret_keys(settings: Settings) -> list[bytes]:
    """The keys, the one in use first. Call it before a process forks: an own key is made only once."""
    configured = [key for key in (settings.secret_key, *settings.previous_secret_keys) if key is not None]
    keys = [key.get_secret_value().encode() for key in configured]
    return list(dict.fromkeys(keys if settings.secret_key else [_key_of_this_user(), *keys]))


def derived(keys: list[bytes], purpose: str) -> list[bytes]:
    """Keys for one purpose, so that what is made for it is never taken for something else."""
    return [hmac.digest(key, f"asyncmcp-kombu/{purpose}".encode(), hashlib.sha256) for key in keys]


@cache
def _key_of_this_user() -> bytes:
    path = key_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):
            _write_whole(path, secrets.token_hex(SHORTEST_KEY).encode())
        key = path.read_bytes().strip()
    except OSError as error:
        logger.warning("no secret key can be kept (%s): sessions end with this process; set ASYNCMCP_SECRET_KEY", error)
        return secrets.token_bytes(SHORTEST_KEY)
    if len(key) >= SHORTEST_KEY:
        return key
    logger.warning("%s holds no usable key and is ignored: delete it, or set ASYNCMCP_SECRET_KEY", path)
    return secrets.token_bytes(SHORTEST_KEY)


def key_file() -> Path:
    """Where the key of this user and machine is kept, readable by the user only."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "asyncmcp-kombu" / "secret-key"


def _write_whole(path: Path, content: bytes) -> None:
    """Create the file with its content in one step: two workers that start together must agree.

    Raises:
        FileExistsError: another process was first.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)
    try:
        os.link(draft, path)
    finally:
        draft.unlink()
