"""The fleet under test, whose worker is killed once, with all its processes, at the stage that FLEET_DIES names.

The package has no hooks: what it does at a stage is replaced here, before the worker starts.
"""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from asyncmcp_kombu.worker import intake
from asyncmcp_kombu.worker.execution import Call
from asyncmcp_kombu.worker.outcomes import Outcome, Outcomes
from asyncmcp_kombu.worker.process import Process
from tests.fleet.fleet_app import app

__all__ = ["app"]

STAGE = os.environ.get("FLEET_DIES", "")
MARK = Path(os.environ.get("FLEET_DIED", "/nonexistent"))


def die_once() -> None:
    """SIGKILL for the worker and its pool, which are a process group of their own."""
    if not MARK.exists():
        MARK.write_text(STAGE)
        os.killpg(os.getpgrp(), signal.SIGKILL)


if STAGE == "always":  # a message that kills every worker that takes it
    admitted = intake.Intake._admit

    def admit(self: Any, c: Any, message: Any) -> None:
        hand_over = self._hand_over

        def die(c: Any, message: Any, request: Any) -> None:
            if request.params.get("arguments", {}).get("tag") == "poison" and not MARK.exists():
                os.killpg(os.getpgrp(), signal.SIGKILL)
            hand_over(c, message, request)

        self._hand_over = die
        try:
            admitted(self, c, message)
        finally:
            self._hand_over = hand_over

    intake.Intake._admit = admit  # type: ignore[method-assign]

elif STAGE in ("unserved", "unserved-once"):  # nothing dies, but the process cannot begin to serve
    start_soon = Process.start_soon

    def fail(self: Any, function: Any) -> Any:
        call = getattr(function, "__self__", None)
        is_a_call = isinstance(call, Call) and call.request.method == "tools/call"
        if is_a_call and (STAGE == "unserved" or not MARK.exists()):
            MARK.write_text(STAGE)
            raise FileNotFoundError("a server's lifespan may raise anything")
        return start_soon(self, function)

    Process.start_soon = fail  # type: ignore[method-assign]

elif STAGE == "received":
    taken = intake.Intake._take

    def take(self: Any, c: Any, message: Any) -> None:
        body = message.body if isinstance(message.body, bytes) else str(message.body).encode()
        if b"tools/call" in body:
            die_once()
        taken(self, c, message)

    intake.Intake._take = take  # type: ignore[method-assign]

elif STAGE == "ran":  # and nothing is recorded or sent
    dispatched = Call._send

    def send(self: Any, answer: Any) -> Future[None]:
        if self.request.method == "tools/call":
            die_once()
        return dispatched(self, answer)

    Call._send = send  # type: ignore[method-assign]

elif STAGE == "recorded":  # and the reply is not sent
    recording = Outcome.recording

    def unsent(self: Outcome, publish: Any) -> Any:
        if MARK.exists():
            return recording(self, publish)

        def hold(address: str, envelope: Any) -> Future[None]:
            def end() -> None:
                while self._kept is None:
                    pass
                self._kept.result()
                die_once()

            threading.Thread(target=end).start()
            return Future()

        return recording(self, hold)

    Outcome.recording = unsent  # type: ignore[method-assign]

elif STAGE == "sent":  # and the outcome is not recorded
    keep, recording = Outcomes.keep, Outcome.recording

    def never_kept(self: Outcomes, key: str, text: str) -> Future[None]:
        return keep(self, key, text) if MARK.exists() else Future()

    def then_die(self: Outcome, publish: Any) -> Any:
        def publish_and_die(address: str, envelope: Any) -> Future[None]:
            sent = publish(address, envelope)
            if envelope.kind == "response":
                sent.add_done_callback(lambda _: die_once())
            return sent

        return recording(self, publish_and_die)

    Outcomes.keep = never_kept  # type: ignore[method-assign]
    Outcome.recording = then_die  # type: ignore[method-assign]

elif STAGE == "answered":  # and the message is not acknowledged
    wait = Outcome.wait

    def wait_and_die(self: Outcome) -> None:
        wait(self)
        if self._kept is not None:
            die_once()

    Outcome.wait = wait_and_die  # type: ignore[method-assign]
