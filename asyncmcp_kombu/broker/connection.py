"""How each broker is connected to: which transport, with which options. A broker's difference is data here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from kombu.connection import Connection
from kombu.transport import TRANSPORT_ALIASES
from pydantic import SecretStr

from asyncmcp_kombu.errors import BrokerUnreachable, ConfigurationError
from asyncmcp_kombu.settings import Settings

Options = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Road:
    """A broker as Kombu reaches it: transport (None is Kombu's own for the scheme) and transport options."""

    transport: str | None
    options: Callable[[Settings], Options]


def _sqs(settings: Settings) -> Options:
    return {
        "visibility_timeout": settings.visibility_timeout,
        "wait_time_seconds": settings.wait_time,
        "max_message_bytes": settings.max_message_bytes,
    }


def _redis(settings: Settings) -> Options:
    timeout = settings.visibility_timeout
    return {
        "visibility_timeout": timeout,
        "unacked_restore_interval": max(1.0, timeout / 6),
        "unacked_restore_throttle": 1,
        # Kombu's default keys are shared by all users of a database: one with a shorter timeout would give
        # away what another still holds.
        "unacked_key": f"{settings.prefix}unacked",
        "unacked_index_key": f"{settings.prefix}unacked-index",
        "unacked_mutex_key": f"{settings.prefix}unacked-mutex",
        # Who dies while giving back what others held keeps all others from it for so long; 300 s by default.
        "unacked_mutex_expire": 5,
        "presence_key": f"{settings.prefix}presence",
        "durable_retention": settings.durable_retention,
        "socket_keepalive": True,
        # Without them a command into a black hole waits for ever, and a publisher cannot try again.
        "socket_timeout": 15.0,
        "socket_connect_timeout": 5.0,
    }


def _amqp(settings: Settings) -> Options:
    # Without confirms a publish to RabbitMQ returns before the broker has the message.
    return {"confirm_publish": True}


def _memory(settings: Settings) -> Options:
    return {"polling_interval": 0.005}


_SQS = Road("asyncmcp_kombu.broker.sqs:Transport", _sqs)
_REDIS = Road("asyncmcp_kombu.broker.redis:Transport", _redis)
_AMQP = Road(None, _amqp)

ROADS: dict[str, Road] = {
    "sqs": _SQS,
    "redis": _REDIS,
    "rediss": _REDIS,
    "amqp": _AMQP,
    "amqps": _AMQP,
    "pyamqp": _AMQP,
    "memory": Road("asyncmcp_kombu.broker.memory:Transport", _memory),
}


def scheme_of(broker_url: str) -> str:
    """The URL's scheme.

    Raises:
        ConfigurationError: it is none that we carry MCP over. The URL itself is not shown: it may hold a
            password.
    """
    scheme = urlsplit(broker_url).scheme
    if scheme not in ROADS:
        raise ConfigurationError(
            f"broker URL with scheme {scheme!r}: expected one of {', '.join(sorted(ROADS))}, as in "
            "ASYNCMCP_BROKER_URL=sqs:// or redis://localhost:6379/0"
        )
    return scheme


def chosen_settings(settings: Settings | None, broker_url: str | None, server: str | None = None) -> Settings:
    """The settings (default: from the environment) with what was given besides.

    Raises:
        ConfigurationError: the URL's scheme cannot be used.
    """
    chosen = settings or Settings()
    update: Options = {}
    if broker_url is not None:
        update["broker_url"] = SecretStr(broker_url)
    if server is not None:
        update["server"] = server
    chosen = chosen.model_copy(update=update)
    scheme_of(chosen.broker_url.get_secret_value())
    return chosen


def transport_options(broker_url: str, settings: Settings) -> Options:
    """Kombu's `transport_options` (Celery's `broker_transport_options`) for the broker of the URL."""
    return ROADS[scheme_of(broker_url)].options(settings)


def connect(broker_url: str, settings: Settings) -> Connection:
    """A Kombu connection, not yet established. Use it from one thread only."""
    road = ROADS[scheme_of(broker_url)]
    return Connection(broker_url, transport=road.transport, transport_options=road.options(settings))


def connector(settings: Settings) -> Callable[[], Connection]:
    """What makes connections to the broker of the settings, each for one thread."""
    return partial(connect, settings.broker_url.get_secret_value(), settings)


def establish(connection: Connection) -> None:
    """Connect now. Kombu's own ways to connect nap for two seconds before they report a failure.

    Raises:
        OSError and whatever else `connection.connection_errors` holds.
    """
    connection.ensure_connection(
        max_retries=1, interval_start=0, interval_step=0, interval_max=0, reraise_as_library_errors=False
    )


def use_our_transports() -> None:
    """Make `sqs://`, `redis://` and `memory://` mean our transports for all of Kombu in this process.

    Celery finds its transport by the URL's scheme. Called by `serve_mcp`, that is in worker processes and in
    those that import the app.
    """
    for scheme, road in ROADS.items():
        if road.transport is not None:
            TRANSPORT_ALIASES[scheme] = road.transport


def unreachable(error: Exception) -> BrokerUnreachable:
    """A connection error as ours, saying what to do."""
    if isinstance(error, BrokerUnreachable):
        return error
    return BrokerUnreachable(
        f"the broker cannot be reached: {type(error).__name__}: {error}; check ASYNCMCP_BROKER_URL, or start the "
        "embedded one with `asyncmcp-kombu local`"
    )
