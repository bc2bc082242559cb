"""The folders of workers' sockets: what a killed worker left goes with the next one that starts, and nothing else."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncmcp_kombu.worker import pool_sockets

HOURS_AGO = time.time() - 2 * 3_600


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="s-") as name:  # a socket's path is short
        monkeypatch.setattr(tempfile, "tempdir", name)
        monkeypatch.setattr(pool_sockets, "_directory", None)
        yield Path(name)


def folder(parent: Path, name: str, *, listening: bool, changed_at: float = HOURS_AGO) -> tuple[Path, socket.socket]:
    made = parent / f"asyncmcp-worker-{name}"
    made.mkdir()
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(str(made / "1.sock"))
    if not listening:
        receiver.close()
    os.utime(made, (changed_at, changed_at))
    return made, receiver


def test_what_a_killed_worker_left_is_removed_when_another_starts(parent: Path):
    dead, _ = folder(parent, "dead", listening=False)
    fresh, _ = folder(parent, "fresh", listening=False, changed_at=time.time())
    alive, receiver = folder(parent, "alive", listening=True)
    with receiver:
        pool_sockets.make_directory()
        assert not dead.exists()
        assert fresh.exists()
        assert alive.exists()
    assert pool_sockets._directory is not None
    assert pool_sockets._directory.parent == parent
