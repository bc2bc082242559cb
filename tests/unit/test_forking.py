"""A pool process that is forked while another thread of its parent holds a lock does not wait for it."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from celery.backends.redis import RedisBackend

import asyncmcp_kombu.worker.process  # noqa: F401  it is prepared for forks once this is imported
from asyncmcp_kombu.worker import forking

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def test_a_forked_process_does_not_inherit_a_cached_property_in_the_making():
    fork_while_one_is_made()


def test_nor_where_the_garbage_collector_was_told_to_forget_what_there_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forking, "_modules", 0)
    monkeypatch.setattr(forking, "_properties", [])
    gc.freeze()
    try:
        fork_while_one_is_made()
    finally:
        gc.unfreeze()


def test_a_fork_waits_for_what_says_that_it_must_not_be_cut_in_two():
    left = threading.Event()

    def open_a_database() -> None:
        time.sleep(0.2)
        left.set()

    thread = inside(forking.not_while_forking(), open_a_database)
    child = os.fork()
    if child == 0:
        with forking.not_while_forking():  # is open in the child
            os._exit(0 if left.is_set() else 1)
    thread.join()
    assert os.waitpid(child, 0) == (child, 0)


def test_a_fork_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forking, "_FORK_WAITS", 0.05)
    done = threading.Event()
    thread = inside(forking.not_while_forking(), lambda: done.wait(10))
    child = os.fork()
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0) == (child, 0)
    assert not done.is_set()
    done.set()
    thread.join()
    with forking.not_while_forking():
        pass


def inside(block: AbstractContextManager[object], work: Callable[[], object]) -> threading.Thread:
    """A thread that has entered the block, and leaves it after its work."""
    entered = threading.Event()

    def run() -> None:
        with block:
            entered.set()
            work()

    thread = threading.Thread(target=run)
    thread.start()
    entered.wait(10)
    return thread


def fork_while_one_is_made() -> None:
    prop, done = vars(RedisBackend)["client"], threading.Event()
    thread = inside(prop.lock, lambda: done.wait(10))
    child = os.fork()
    if child == 0:
        os._exit(0 if prop.lock.acquire(timeout=2) else 1)
    try:
        deadline = time.monotonic() + 10
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        done.set()
        thread.join()
        if ended == (0, 0):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    assert ended == (child, 0)
