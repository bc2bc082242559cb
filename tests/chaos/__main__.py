"""`python -m tests.chaos`: calls, faults, a scoreboard, and an exit code: 1 when a call is lost or answered twice."""

from __future__ import annotations

import logging
import random
import secrets
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import anyio
import anyio.abc
import anyio.to_thread
import typer
from kombu import Connection
from pydantic import SecretStr
from rich.console import Console
from rich.live import Live
from rich.table import Table

from asyncmcp_kombu import Settings
from asyncmcp_kombu.broker.connection import connect
from asyncmcp_kombu.broker.publisher import Publisher
from asyncmcp_kombu.topology import Topology
from tests.chaos.brokers import Broker
from tests.chaos.callers import Caller
from tests.chaos.tally import Tally
from tests.chaos.workers import Workers

TICK = 0.25
"""Seconds from one fault to the next."""
CALM_BETWEEN_RESTARTS = 8.0
FAULTS = {"worker killed": 4, "connections cut": 2, "response broken off": 2, "duplicate": 4, "garbage": 3, "poison": 1}
MOST_POISON = 10
console = Console(highlight=False)


class Chaos:
    """One run. The faults end when all calls are sent; then what is under way may settle."""

    def __init__(
        self, calls: int, rate: float, broker: Broker, settings: Settings, workers: Workers, tally: Tally
    ) -> None:
        self._calls, self._rate, self._broker, self._workers, self.tally = calls, rate, broker, workers, tally
        self._topology = Topology(settings.server, settings.prefix)
        self._callers = [Caller(f"client {n}", settings, tally) for n in range(4)]
        direct = settings.model_copy(update={"broker_url": SecretStr(broker.direct)})

        def new_connection() -> Connection:
            return connect(broker.direct, direct)

        self._publisher = Publisher(new_connection, retry_for=30.0)
        self._restarted_at = time.monotonic()
        self._sent_all = anyio.Event()

    async def run(self, patience: float) -> None:
        """Until every call is answered, or none was for `patience` seconds after the last was sent."""
        async with anyio.create_task_group() as tasks:
            for caller in self._callers:
                await tasks.start(caller.run)
            tasks.start_soon(self._send_all)
            tasks.start_soon(self._keep_faulting)
            await self._show(patience)
            tasks.cancel_scope.cancel()
        await anyio.to_thread.run_sync(self._publisher.close)

    async def _send_all(self) -> None:
        began = time.monotonic()
        async with anyio.create_task_group() as sending:
            for number in range(self._calls):
                await anyio.sleep(max(0.0, began + number / self._rate - time.monotonic()))
                sending.start_soon(self._callers[number % len(self._callers)].call, number)
        self._sent_all.set()

    async def _keep_faulting(self) -> None:
        names, weights = list(FAULTS), list(FAULTS.values())
        while not self._sent_all.is_set():
            await anyio.sleep(TICK)
            due = self._broker.can_restart and time.monotonic() - self._restarted_at > CALM_BETWEEN_RESTARTS
            fault = "broker restarted" if due else random.choices(names, weights)[0]
            if await self._inflict(fault):
                self.tally.faults[fault] += 1
            await anyio.to_thread.run_sync(self._workers.look_after)

    async def _inflict(self, fault: str) -> bool:
        proxy, caller = self._broker.proxy, random.choice(self._callers)
        match fault:
            case "worker killed":
                return await anyio.to_thread.run_sync(self._workers.kill_one)
            case "connections cut":
                proxy.cut()
                await anyio.sleep(0.1)
                proxy.restore()
            case "response broken off":
                proxy.break_off(random.randrange(200))
            case "broker restarted":
                await anyio.to_thread.run_sync(self._broker.restart)
                self._restarted_at = time.monotonic()
            case "duplicate" if caller.last is not None:
                self._publisher.publish(self._topology.requests, caller.last)
            case "garbage":
                garbage = random.choice(
                    [b"{not json", b'{"task": "work", "id": "1"}', random.randbytes(40).hex().encode()]
                )
                self._publisher.publish_raw(self._topology.requests, garbage, {"MessageType": "jsonrpc"})
            case "poison" if self.tally.poison_sent < MOST_POISON:
                await caller.poison()
            case _:
                return False
        return True

    async def _show(self, patience: float) -> None:
        seen, at = -1, time.monotonic()
        with Live(console=console, refresh_per_second=4, transient=not console.is_terminal) as live:
            while not self.tally.complete and time.monotonic() - at < patience:
                await anyio.sleep(0.25)
                self.tally.look_at_runs()
                live.update(scoreboard(self.tally))
                now = len(self.tally.answered) + self.tally.poison_answered
                if now != seen or not self._sent_all.is_set():
                    seen, at = now, time.monotonic()
        # Duplicates of the last answers may still come.
        await anyio.sleep(2.0)
        self.tally.look_at_runs()


def scoreboard(tally: Tally) -> Table:
    table = Table(box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    for name, value in tally.rows():
        table.add_row(name, value)
    return table


def main(
    calls: Annotated[int, typer.Option(min=1, help="How many calls must be answered.")] = 1_000,
    broker: Annotated[
        Literal["sqs", "redis", "rabbitmq"], typer.Option(help="SQS is an embedded engine of its own.")
    ] = "sqs",
    workers: Annotated[int, typer.Option(min=2, help="Worker processes, each with three children.")] = 3,
    rate: Annotated[float, typer.Option(min=0.1, help="Calls sent per second.")] = 15.0,
    engine: Annotated[
        str, typer.Option(help="The embedded engine; fauxqs keeps messages through anything.")
    ] = "ministack",
    patience: Annotated[float, typer.Option(help="Seconds without an answer after which calls count as lost.")] = 60.0,
    seed: Annotated[int | None, typer.Option(help="For the same faults again, as far as time allows.")] = None,
) -> None:
    """Call tools while workers are killed, connections cut, the broker restarted and garbage sent.

    Exits with 1 when a call is lost, answered twice or answered wrongly.
    """
    seed = secrets.randbelow(10_000) if seed is None else seed
    random.seed(seed)
    for name in ("asyncmcp_kombu", "kombu"):  # that the broker is away is what is meant to be
        logging.getLogger(name).setLevel(logging.CRITICAL)
    prefix = f"chaos{secrets.token_hex(3)}-"
    console.print(f"{calls} calls on {broker}, {workers} workers, seed {seed}")
    with tempfile.TemporaryDirectory(prefix="asyncmcp-chaos-") as name:
        directory = Path(name)
        (directory / "engine").mkdir()
        it = Broker(broker, directory, engine)
        tally = Tally(calls, directory / "runs")
        settings = Settings(
            broker_url=SecretStr(it.url), prefix=prefix, server="chaos", visibility_timeout=4, wait_time=1
        )
        fleet = Workers(workers, environment(settings, directory, broker), prefix)
        try:
            fleet.start()
            began = time.monotonic()
            anyio.run(partial(Chaos(calls, rate, it, settings, fleet, tally).run, patience))
            console.print(scoreboard(tally))
            problems = tally.verdict()
            if problems:
                (Path(tempfile.gettempdir()) / "chaos-workers.log").write_text(fleet.logs())
        finally:
            fleet.close()
            it.close(prefix)
    for problem in problems:
        console.print(f"[red]{problem}[/]")
    console.print(f"{'failed' if problems else 'all answered, once each'}, in {time.monotonic() - began:.0f} s")
    sys.exit(1 if problems else 0)


def environment(settings: Settings, directory: Path, broker: str) -> dict[str, str]:
    """What the workers are told."""
    return {
        "ASYNCMCP_BROKER_URL": settings.broker_url.get_secret_value(),
        "ASYNCMCP_PREFIX": settings.prefix,
        "ASYNCMCP_VISIBILITY_TIMEOUT": str(settings.visibility_timeout),
        "ASYNCMCP_WAIT_TIME": str(settings.wait_time),
        "ASYNCMCP_MAX_RECEIVES": "100",  # what is killed here is the workers, not by the messages
        "ASYNCMCP_DEDUPE": "always",
        "XDG_STATE_HOME": str(directory),
        "CHAOS_RUNS": str(directory / "runs"),
        **({"ASYNCMCP_RESULT_BACKEND": "redis://127.0.0.1:6379/9"} if broker == "redis" else {}),
    }


if __name__ == "__main__":
    typer.run(main)
