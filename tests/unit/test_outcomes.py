"""Outcomes without a worker: which calls are recorded, under what key, and what a failing backend costs."""

from __future__ import annotations

import time
from concurrent.futures import wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from asyncmcp_kombu.envelope import Envelope, compose
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.tasks.backend import default_result_backend
from asyncmcp_kombu.tasks.cleanup import clean_up
from asyncmcp_kombu.worker.outcome_store import Row, store_for
from asyncmcp_kombu.worker.outcomes import PATIENCE, Outcomes, outcome_key, outcome_of


def request(**params: Any) -> Envelope:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add", **params}}
    return compose(message, client_id="c", reply_to="q")


def task(dedupe: Any = None) -> Any:
    return SimpleNamespace(mcp_tool=SimpleNamespace(dedupe=dedupe))


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Celery:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    app = Celery("outcomes", set_as_current=False)
    app.conf.update(default_result_backend(Settings()))
    return app


def test_a_key_is_the_same_for_the_same_call_and_for_no_other():
    keys = [
        outcome_key(request(arguments={"a": 1, "b": 2})),
        outcome_key(request(arguments={"b": 2, "a": 1})),
        outcome_key(request(arguments={"a": 1, "b": 3})),
        outcome_key(compose(request(arguments={"a": 1, "b": 2}).message, client_id="d")),
    ]
    assert len(set(keys)) == 3
    assert keys[0] == keys[1]


def test_only_calls_of_tools_that_may_come_again_are_recorded(app: Celery):
    outcomes = Outcomes(app, Settings())

    def recorded(envelope: Envelope, mode: Any = "redelivered", tool: Any = None) -> bool:
        return outcome_of(outcomes, tool or task(), envelope, mode, again=False) is not None

    assert recorded(request())
    assert not recorded(request(), "off")
    assert not recorded(request(), "redelivered", task("off"))
    assert recorded(request(), "off", task("always"))
    assert recorded(request(), "always")
    assert not recorded(compose(request().message))  # nobody's
    assert not recorded(compose({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, client_id="c"))


def test_sqlite_keeps_the_first_outcome_until_its_time_is_over(app: Celery):
    store = store_for(app, ttl=60)
    assert store is not None
    store.write([Row("a", "1"), Row("b", "2")])
    store.write([Row("a", "3"), Row("c", "4")])
    assert [store.read(key) for key in ("a", "b", "c", "d")] == ["1", "2", "4", None]
    clean_up(app)
    assert store.read("a") == "1"
    over = store_for(app, ttl=-60)
    assert over is not None
    over.write([Row("e", "5")])
    clean_up(app)
    assert [store.read(key) for key in ("a", "e")] == ["1", None]
    store.close()
    over.close()


def test_what_is_kept_at_once_goes_together_and_costs_little(app: Celery):
    outcomes = Outcomes(app, Settings())
    outcomes.keep("first", "x").result(10)  # opens the file
    began = time.process_time()
    assert not wait([outcomes.keep(f"k{n}", "x" * 200) for n in range(2_000)], 10).not_done
    assert (time.process_time() - began) / 2_000 < 0.001
    assert outcomes.look_up("k1999") == "x" * 200
    outcomes.close()


def test_a_backend_that_is_away_holds_up_one_call_and_not_every_one(caplog: pytest.LogCaptureFixture):
    app = Celery("away", backend="redis://127.0.0.1:1/0", set_as_current=False)
    outcomes = Outcomes(app, Settings())
    began = time.monotonic()
    for n in range(50):
        outcomes.wait(outcomes.keep(f"k{n}", "x"))
    assert time.monotonic() - began < PATIENCE + 1
    assert outcomes.look_up("k1") is None
    outcomes.close()
    assert sum("the result backend fails" in record.message for record in caplog.records) == 1


def test_a_backend_that_keeps_nothing_is_said_to(caplog: pytest.LogCaptureFixture):
    outcomes = Outcomes(Celery("none", backend="disabled://", set_as_current=False), Settings())
    outcomes.keep("k", "x").result(5)
    assert outcomes.look_up("k") is None
    outcomes.close()
    assert "a finished call may run again" in caplog.text
