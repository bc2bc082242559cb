"""`asyncmcp-kombu queues list`, `queues prune` and `queues redrive`: a server's queues, those that nobody owns any
more, and dead letters that are to be served after all."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer
from kombu.connection import Connection
from rich.console import Console
from rich.table import Table

from asyncmcp_kombu.broker.connection import connect, establish, unreachable
from asyncmcp_kombu.broker.prune import prune, survey
from asyncmcp_kombu.broker.redrive import dead_letters, redrive
from asyncmcp_kombu.cli.options import BrokerUrl, Server, settings_from
from asyncmcp_kombu.cli.session import explain
from asyncmcp_kombu.errors import AsyncMcpError
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.topology import Topology

out = Console(highlight=False)
_WIDTH = 125
"""Columns for the longest name that SQS allows: a name is never cut, it may be wanted for another command."""

queues = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Look at a server's queues, delete what crashed clients and workers left behind, send dead letters back.",
)

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_OLDER_THAN = "1h"


def seconds(text: str) -> float:
    """`90s`, `30m`, `1h`, `7d`, or a number of seconds.

    Raises:
        typer.BadParameter: it is none of these.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r}: write a number and s, m, h or d, as in 90s, 30m, 1h, 7d")
    return float(found[1]) * _UNITS[found[2] or "s"]


@queues.command("list")
def list_queues(
    server: Server = None,
    broker_url: BrokerUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the queues as JSON.")] = False,
) -> None:
    """List a server's queues: how many messages wait, and when the owner was last seen.

    Reply queues belong to clients, control queues to workers. An owner says every 15 minutes that it lives.

    One that was silent for an hour is taken for dead, and [bold]queues prune[/] deletes its queue.

    RabbitMQ lists only the server's durable queues; it deletes the others by itself.
    """
    with _connected(server, broker_url) as (connection, topology):
        found = survey(connection, topology)
    if as_json:
        out.print(json.dumps([asdict(info) for info in found], indent=2), markup=False, soft_wrap=True)
        return
    if not found:
        out.print(f"Server {topology.server!r} has no queues here. Is the name right? (--server)", markup=False)
        return
    table = Table(box=None, header_style="bold")
    for column in ("queue", "kind", "waiting", "owner seen"):
        table.add_column(column, justify="right" if column == "waiting" else "left", no_wrap=True)
    for info in found:
        seen = "" if info.kind not in ("reply", "durable", "control") else _ago(info.last_seen)
        table.add_row(info.name, info.kind, str(info.messages), f"{seen}, abandoned" if info.abandoned else seen)
    Console(highlight=False, width=max(out.width, _WIDTH)).print(table)
    if any(info.abandoned for info in found):
        out.print("Delete what is abandoned: asyncmcp-kombu queues prune", style="yellow")


@queues.command("prune")
def prune_queues(
    server: Server = None,
    broker_url: BrokerUrl = None,
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than",
            metavar="TIME",
            help="How long an owner must have been silent, as 30m, 1h, 7d. It speaks every 15 minutes.",
        ),
    ] = _OLDER_THAN,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    durable: Annotated[
        bool, typer.Option("--durable", help="Also delete the durable reply queues of clients that stayed away.")
    ] = False,
) -> None:
    """Delete reply and control queues whose owner died, with all that waits in them and their subscriptions.

    A durable reply queue waits for its client to come back, and stays unless [bold]--durable[/] is given.

    On SQS also removes subscriptions to the server's topics whose queue is gone.

    Request, job and dead-letter queues are never touched, nor those of another server or prefix.

    Safe to run from cron while the fleet works: who lives makes its queue again should it ever be deleted.
    """
    silent_for = seconds(older_than)
    with _connected(server, broker_url) as (connection, topology):
        deleted = prune(connection, topology, silent_for, dry_run=dry_run, durable=durable)
    for name in deleted:
        out.print(name, markup=False, soft_wrap=True)
    done = "would be deleted" if dry_run else "deleted"
    out.print(f"{len(deleted)} {done}." if deleted else "Nothing is abandoned.", style="dim")


@queues.command("redrive")
def redrive_queue(
    server: Server = None,
    broker_url: BrokerUrl = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, metavar="N", help="Move at most so many; default: all."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many would be moved.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Send dead letters back to the request queue, to be served after all.

    For when what killed the workers is repaired. A request that was kept because its workers died runs again, without
    its deadline; its answer goes to the reply queue it names, if that still exists.

    What no worker can read is refused again, and becomes a dead letter again.
    """
    with _connected(server, broker_url, wait_time=1) as (connection, topology):
        there = dead_letters(connection, topology)
        count = there if limit is None else min(limit, there)
        if not count:
            out.print(f"No dead letters wait in {topology.dead}.", style="dim", markup=False)
            return
        if dry_run:
            out.print(f"{count} of {there} would go from {topology.dead} to {topology.requests}.", markup=False)
            return
        if not yes:
            typer.confirm(f"Send {count} of {there} from {topology.dead} to {topology.requests}?", abort=True)
        reasons = Counter(redrive(connection, topology, count))
    for reason, moved in reasons.most_common():
        out.print(f"{moved:>6} {reason}", markup=False)
    out.print(f"{reasons.total()} sent to {topology.requests}.", style="dim", markup=False)


@contextmanager
def _connected(server: str | None, broker_url: str | None, **more: Any) -> Generator[tuple[Connection, Topology]]:
    """A connection for a command, with further settings; what is expected to go wrong ends it with one line."""
    try:
        settings: Settings = settings_from(server, broker_url).model_copy(update=more)
        topology = Topology(settings.server, settings.prefix)
        with connect(settings.broker_url.get_secret_value(), settings) as connection:
            try:
                establish(connection)
                yield connection, topology
            except connection.connection_errors as error:
                raise unreachable(error) from error
    except AsyncMcpError as error:
        explain(error)


def _ago(then: float | None) -> str:
    if then is None:
        return "never"
    ago = max(0.0, time.time() - then)
    for unit in ("d", "h", "m"):
        if ago >= _UNITS[unit]:
            return f"{ago / _UNITS[unit]:.0f}{unit} ago"
    return "now"
