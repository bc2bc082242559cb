"""Keys: configured, or made once per user and machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from asyncmcp_kombu.server import keys
from asyncmcp_kombu.settings import Settings

CODE = "from asyncmcp_kombu.server.keys import secret_keys; from asyncmcp_kombu.settings import Settings; "


def test_configured_keys_come_in_order_and_once():
    old, new = SecretStr("o" * 32), SecretStr("n" * 32)
    assert keys.secret_keys(Settings(secret_key=new, previous_secret_keys=[old, new])) == [b"n" * 32, b"o" * 32]


def test_a_short_key_is_refused_without_being_shown():
    with pytest.raises(ValidationError, match="at least 32 bytes") as caught:
        Settings(secret_key=SecretStr("short-secret"))
    assert "short-secret" not in str(caught.value)


def test_processes_of_one_user_share_a_key_that_only_he_can_read(tmp_path: Path):
    env = {"XDG_STATE_HOME": str(tmp_path), "PATH": "/usr/bin"}
    command = [sys.executable, "-c", CODE + "print(secret_keys(Settings()))"]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) for _ in range(3)]
    printed = {process.communicate(timeout=60)[0] for process in started}
    assert len(printed) == 1
    (folder,) = tmp_path.iterdir()
    (kept,) = folder.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert repr(kept.read_bytes()) in printed.pop()


def test_where_no_key_can_be_kept_one_is_made_for_this_process(tmp_path: Path):
    (tmp_path / "asyncmcp-kombu").write_text("a file where a folder should be")
    env = {"XDG_STATE_HOME": str(tmp_path), "PATH": "/usr/bin"}
    code = CODE + "print(len(secret_keys(Settings())[0]), secret_keys(Settings()) == secret_keys(Settings()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, text=True, timeout=60)
    assert done.stdout.split() == ["32", "True"]
    assert "ASYNCMCP_SECRET_KEY" in done.stderr


def test_a_derived_key_serves_one_purpose_only():
    assert keys.derived([b"k" * 32], "session") != keys.derived([b"k" * 32], "request-state")
