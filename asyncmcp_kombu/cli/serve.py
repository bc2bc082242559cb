"""`asyncmcp-kombu serve`: an MCP server object, served over a queue by this process."""

from __future__ import annotations

import importlib
import logging
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import anyio
import anyio.abc
import typer

from asyncmcp_kombu.cli.options import BrokerUrl, settings_from
from asyncmcp_kombu.cli.session import errors, explain, run
from asyncmcp_kombu.errors import ConfigurationError
from asyncmcp_kombu.server.lowlevel import lowlevel_of
from asyncmcp_kombu.server.serve import serve as serve_server
from asyncmcp_kombu.settings import redacted


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def serve(
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="The server object: MODULE:NAME, or FILE.py:NAME."),
    ],
    name: Annotated[
        str | None,
        typer.Option("--server", metavar="NAME", help="Name that clients know it by.  \\[default: the server's own]"),
    ] = None,
    broker_url: BrokerUrl = None,
    log_level: Annotated[
        str, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
    ] = "info",
) -> None:
    """Serve an MCPServer or low-level Server in this process, without Celery. Ctrl-C stops it.

    Any number of processes may serve one name: each request is taken by one of them.
    """
    logging.basicConfig(level=str(log_level).upper(), format="%(levelname)s %(name)s: %(message)s", force=True)
    try:
        settings = settings_from(None, broker_url)
        server = load(target)
        lowlevel_of(server)
    except ConfigurationError as error:
        explain(error)

    for stop in (signal.SIGINT, signal.SIGTERM):  # a shell starts jobs in the background with SIGINT ignored
        signal.signal(stop, signal.default_int_handler)

    async def command() -> None:
        async with anyio.create_task_group() as tasks:
            await tasks.start(_serve)
            shown = redacted(settings.broker_url.get_secret_value())
            errors.print(f"serving {name or lowlevel_of(server).name!r} on {shown}; Ctrl-C stops", markup=False)

    async def _serve(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        await serve_server(server, name=name, settings=settings, task_status=task_status)

    run(command)


def load(target: str) -> Any:
    """The object that `MODULE:NAME` names; a path to a file is a module, too.

    Raises:
        ConfigurationError: there is no such module or name; the text says which.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise ConfigurationError(f"target {target!r}: MODULE:NAME is expected, as `notes:server`")
    folder = Path.cwd()
    if module_name.endswith(".py"):
        path = Path(module_name)
        folder, module_name = path.parent.resolve(), path.stem
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise  # the module itself lacks something
        raise ConfigurationError(f"target {target!r}: there is no module {module_name!r} in {folder}") from None
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ConfigurationError(f"target {target!r}: module {module_name!r} has no {attribute!r}") from None
    return found
