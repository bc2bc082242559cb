"""The fleet under chaos. A line in CHAOS_RUNS for each run of a tool says how often it ran."""

from __future__ import annotations

import os
import random
import signal
import time

from celery import Celery

from asyncmcp_kombu import mcp_task, serve_mcp

app = Celery("chaos")
serve_mcp(app)


@mcp_task
def work(n: int) -> int:
    """Take a moment, and give the number back."""
    descriptor = os.open(os.environ["CHAOS_RUNS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{n}\n".encode())
    os.close(descriptor)
    time.sleep(random.uniform(0.0, 0.05))
    return n


@mcp_task
def poison() -> None:
    """Kill the process that runs it."""
    os.kill(os.getpid(), signal.SIGKILL)
