"""Which engines can serve as the embedded SQS and SNS, and the command that starts each.

`ministack` is the default. Of the packages on PyPI it is the one that, started our way (serve/ministack.py),
both answers an idle call in about 10 ms and drains a backlog of 1,000 messages at once: see docs/local.md.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from asyncmcp_kombu.local import fauxqs
from asyncmcp_kombu.local.errors import LocalEngineError

SERVE: Final = Path(__file__).parent / "serve"


@dataclass(frozen=True, slots=True)
class Command:
    """What the child process runs, and the variables it gets beside those of this process."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Engine:
    """One simulator of SQS and SNS.

    `keeps_messages` says whether it can keep its queues in a data directory. `install(say)` makes sure that
    the engine is on this machine, telling `say` when that takes long, and raises LocalEngineError with the
    command to run when it cannot. `command(host, port, data_dir)` is what to start afterwards.
    """

    name: str
    summary: str
    keeps_messages: bool
    install: Callable[[Callable[[str], None]], None]
    command: Callable[[str, int, Path | None], Command]


def _from_pypi(module: str, requirement: str) -> Callable[[Callable[[str], None]], None]:
    def install(say: Callable[[str], None]) -> None:
        if importlib.util.find_spec(module) is None:
            raise LocalEngineError(
                f"the engine {module!r} is not installed in {sys.prefix}; run: "
                f"{sys.executable} -m pip install '{requirement}'"
            )

    return install


def _python(script: str, *args: str) -> tuple[str, ...]:
    # By path and with -P: importing asyncmcp_kombu there would only slow the start down.
    return (sys.executable, "-P", str(SERVE / "with_parent.py"), str(SERVE / script), *args)


def _ministack(host: str, port: int, data_dir: Path | None) -> Command:
    env = {
        "MINISTACK_HOST": host,
        "GATEWAY_PORT": str(port),
        "SERVICES": "sqs,sns,dynamodb",
        "LOG_LEVEL": "WARNING",
        "PERSIST_STATE": "1" if data_dir else "0",
        # Else it listens on 0.0.0.0:8883 (MQTT) and :2222 (SFTP), also with SERVICES set.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # Else it stops and removes the containers of any other ministack on this machine.
        "DOCKER_HOST": "unix:///nonexistent/asyncmcp-kombu",
    }
    if data_dir:
        env["STATE_DIR"] = str(data_dir)
    return Command(_python("ministack.py", host, str(port)), env)


def _moto(host: str, port: int, data_dir: Path | None) -> Command:
    return Command(_python("moto.py", host, str(port)))


def _fauxqs(host: str, port: int, data_dir: Path | None) -> Command:
    node, app = fauxqs.installed()
    return Command((str(node), str(SERVE / "fauxqs.mjs"), str(app), host, str(port), str(data_dir or "")))


DEFAULT_ENGINE: Final = "ministack"

ENGINES: Final[Mapping[str, Engine]] = {
    engine.name: engine
    for engine in (
        Engine(
            "ministack",
            "fast, pure Python; the default",
            keeps_messages=True,
            install=_from_pypi("ministack", "ministack>=1.4.21,<1.5"),
            command=_ministack,
        ),
        Engine(
            "moto",
            "widely known; slow once hundreds of messages wait",
            keeps_messages=False,
            install=_from_pypi("moto", "moto[server]>=5.1,<6"),
            command=_moto,
        ),
        Engine(
            "fauxqs",
            "fastest, keeps messages through kill -9; needs Node, fetched with npm on first use",
            keeps_messages=True,
            install=fauxqs.install,
            command=_fauxqs,
        ),
    )
}


def engine_named(name: str) -> Engine:
    """The engine of this name.

    Raises:
        LocalEngineError: there is none; the text names the choices.
    """
    try:
        return ENGINES[name]
    except KeyError:
        raise LocalEngineError(f"unknown engine {name!r}; choose one of: {', '.join(ENGINES)}") from None
