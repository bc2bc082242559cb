"""Options that several commands share, spelled like the settings they set."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from pydantic import SecretStr, ValidationError

from asyncmcp_kombu.errors import ConfigurationError
from asyncmcp_kombu.settings import Settings

Server = Annotated[
    str | None,
    typer.Option("--server", metavar="NAME", help="The server to talk to.  \\[env: ASYNCMCP_SERVER; default: workers]"),
]
BrokerUrl = Annotated[
    str | None,
    typer.Option(
        "--broker-url",
        metavar="URL",
        help="sqs://, amqp://, redis:// URL. A password is safer in the environment: other users of the machine "
        "see command lines.  \\[env: ASYNCMCP_BROKER_URL; default: the embedded SQS on port 4566]",
    ),
]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.1, metavar="SECONDS", help="How long to wait for an answer.")
]


def settings_from(server: str | None, broker_url: str | None) -> Settings:
    """Settings from the environment, with the flags that were given.

    Raises:
        ConfigurationError: a value cannot be used.
    """
    given: dict[str, Any] = {}
    if server is not None:
        given["server"] = server
    if broker_url is not None:
        given["broker_url"] = SecretStr(broker_url)
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = [f"ASYNCMCP_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        raise ConfigurationError("; ".join(lines)) from None
