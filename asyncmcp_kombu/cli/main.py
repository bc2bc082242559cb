"""The commands, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from asyncmcp_kombu import __version__
from asyncmcp_kombu.cli.bridge import bridge
from asyncmcp_kombu.cli.demo import demo
from asyncmcp_kombu.cli.local import local
from asyncmcp_kombu.cli.queues import queues
from asyncmcp_kombu.cli.serve import serve
from asyncmcp_kombu.cli.tasks import cancel, watch
from asyncmcp_kombu.cli.tools import call, tools

app = typer.Typer(
    name="asyncmcp-kombu",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="MCP tools on a Celery fleet, over SQS, RabbitMQ or Redis.\n\n"
    "Try it: [bold]asyncmcp-kombu demo[/]. By hand, in three shells: [bold]asyncmcp-kombu local[/] starts an SQS on "
    "this machine, [bold]celery -A workers worker[/] serves tools, [bold]asyncmcp-kombu call add "
    '\'{"a": 1, "b": 2}\'[/] calls one.',
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"asyncmcp-kombu {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


for command in (demo, local, tools, call, watch, cancel, serve, bridge):
    app.command()(command)
app.add_typer(queues, name="queues")

if __name__ == "__main__":
    app()
