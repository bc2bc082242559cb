"""The endpoint in the foreground of a terminal: what `asyncmcp-kombu local` does."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager

from asyncmcp_kombu.local.process import LocalEngine


def run_until_stopped(engine: LocalEngine, say: Callable[[str], None] = print) -> int:
    """Start the engine, say how to use it, and block until SIGINT or SIGTERM arrives or the engine dies.

    Main thread only. The engine is stopped on return, whatever happened; a second signal while it stops
    ends it at once.

    Returns:
        Exit code: 0 after a signal, 1 when the engine died (its last log lines are said).

    Raises:
        LocalEngineError: the engine cannot be started.
    """
    try:
        with _sigterm_as_interrupt():
            engine.start()
            say(how_to_use(engine))
            code = engine.wait()
        say(f"{engine.engine.name} died (exit code {code}). Its last words:\n{engine.log_tail()}")
        return 1
    except KeyboardInterrupt:
        say("Stopping.")
        return 0
    finally:
        engine.stop()


def how_to_use(engine: LocalEngine) -> str:
    """The text for a newcomer, once the engine runs."""
    kept = f"kept in {engine.data_dir}" if engine.data_dir else "in memory, gone when it stops"
    return (
        f"SQS and SNS ({engine.engine.name}) on {engine.endpoint_url}; messages are {kept}.\n"
        "\n"
        "In another terminal:\n"
        f"  export ASYNCMCP_BROKER_URL={engine.broker_url}\n"
        "  celery -A workers worker\n"
        "\n"
        "Ctrl+C stops it."
    )


@contextmanager
def _sigterm_as_interrupt() -> Generator[None]:
    """SIGTERM and SIGINT both raise KeyboardInterrupt, also where a shell's `&` had SIGINT ignored."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
