"""Workers that are killed and started again; one of them is always left alone, so that there is progress."""

from __future__ import annotations

import contextlib
import random
import subprocess
import time

import psutil

from tests.fleet.native import NativeProcess, worker_process

APP = "tests.chaos.app"
_READY_WITHIN = 60.0


class Workers:
    """Used by one thread; nothing here waits for a worker but `start` and `close`."""

    def __init__(self, count: int, env: dict[str, str], prefix: str) -> None:
        self._started_at: dict[NativeProcess, float] = {}
        for n in range(count):
            one = worker_process(APP, env, name=f"{prefix}w{n}", pool="prefork", concurrency=3)
            self._started_at[one] = time.monotonic()

    def start(self) -> None:
        for one in self._started_at:
            one.ready(_READY_WITHIN)

    def ready(self) -> list[NativeProcess]:
        return [one for one in self._started_at if one.status == "running" and one.ready_prompt in one.logs()]

    def kill_one(self) -> bool:
        """SIGKILL for a worker with all its children, and a new one in its place, unless it is the last that serves."""
        ready = self.ready()
        if len(ready) < 2:
            return False
        victim = random.choice(ready)
        victim.kill()
        self._restart(victim)
        return True

    def look_after(self) -> None:
        """Start again what ended by itself, which no worker should."""
        for one in self._started_at:
            if one.status != "running":
                self._restart(one)

    def _restart(self, one: NativeProcess) -> None:
        one._start()
        self._started_at[one] = time.monotonic()

    def logs(self) -> str:
        return "\n".join(f"--- {one.name}\n{one.logs()[-3000:]}" for one in self._started_at)

    def close(self) -> None:
        """End all, those that hang too."""
        for one in self._started_at:
            one.begin_to_terminate()
        for one in self._started_at:
            with contextlib.suppress(psutil.NoSuchProcess, subprocess.TimeoutExpired):
                one.teardown()
