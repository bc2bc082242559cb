"""Brokers for the tests: is one there, which prefixes were handed out, which queues and exchanges are left on it.

Without its service a test is skipped on a laptop and fails where `CI` is set.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import pytest
from kombu import Connection
from kombu.transport.memory import Channel as MemoryChannel
from kombu.transport.memory import Transport as MemoryTransport

REDIS_URL = "redis://127.0.0.1:6379/9"
"""Not database 0: Kombu keeps what consumers hold under keys that all users of a database share."""
AMQP_URL = "amqp://guest:guest@127.0.0.1:5672//"
MEMORY_URL = "memory://"


def quick(seconds: float) -> float:
    """The bound of a promise such as "less than a second", for a machine that has as many processes as cores.

    Where more of them wait for each core, as when the tests run side by side on a small one, it is longer by as much.
    """
    return seconds * max(1.0, 1.5 * os.getloadavg()[0] / (os.cpu_count() or 1))


_PREFIXES: list[str] = []
_NAMES: set[str] = set()
_KINDS = ("requests", "jobs", "dead")
_EXCHANGES = ("events", "control")
_SERVERS = ("workers", "testfleet", "echo")


def require_port(port: int, service: str, host: str = "127.0.0.1") -> None:
    """Skip the test when nothing listens there; fail it where `CI` is set."""
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        text = f"{service} does not listen on {host}:{port}"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)


def redis_url() -> str:
    require_port(6379, "Redis")
    return REDIS_URL


def amqp_url() -> str:
    require_port(5672, "RabbitMQ")
    return AMQP_URL


def free_port() -> int:
    """A port on which nobody listens (yet)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def new_prefix() -> str:
    """A prefix that no other test has; queues with it must be gone when the tests end."""
    _PREFIXES.append(f"t{secrets.token_hex(4)}-")
    return _PREFIXES[-1]


def prefixes() -> tuple[str, ...]:
    """Every prefix handed out so far."""
    return tuple(_PREFIXES)


def remember(name: str) -> str:
    """Have the leak check look for this queue also where the broker cannot list its queues."""
    _NAMES.add(name)
    return name


@cache
def boto_sqs(broker_url: str, config: Any = None, service: str = "sqs") -> Any:
    """A raw boto3 client to the endpoint of an `sqs://key:secret@host:port` URL."""
    import boto3

    parts = urlsplit(broker_url)
    return boto3.client(
        service,
        endpoint_url=f"http://{parts.hostname}:{parts.port}",
        region_name="us-east-1",
        aws_access_key_id=parts.username,
        aws_secret_access_key=parts.password,
        config=config,
    )


def boto_sns(broker_url: str) -> Any:
    return boto_sqs(broker_url, service="sns")


def queues_on(broker_url: str, started_with: Iterable[str]) -> list[str]:
    """Queues and exchanges on the broker (keys, on Redis) whose name starts with one of the prefixes.

    `exchange -> queue` is a binding that outlived its queue.
    """
    wanted = tuple(started_with)
    names = _LIST[urlsplit(broker_url).scheme](broker_url, wanted) if wanted else []
    return sorted(name for name in names if name.startswith(wanted) or _is_binding(name, wanted))


def _is_binding(name: str, wanted: tuple[str, ...]) -> bool:
    """Kombu's keys on Redis for queues on a named exchange, as Celery makes them for `queue="name"`."""
    return name.startswith("_kombu.binding") and any(f".{prefix}" in name for prefix in wanted)


def cleanup_queues(broker_url: str, prefix: str, *, replies: bool = False) -> list[str]:
    """Delete the queues and exchanges with the prefix that the product rightly leaves behind; returns their names.

    Reply queues are the product's to delete, so they stay for the leak check to find, unless `replies` is
    set, for a test that killed their client.
    """
    names = [name for name in queues_on(broker_url, [prefix]) if replies or "-reply-" not in name]
    delete_queues(broker_url, names)
    return names


def delete_queues(broker_url: str, names: Iterable[str]) -> None:
    scheme = urlsplit(broker_url).scheme
    for name in names:
        _DELETE[scheme](broker_url, name)


# --- each broker's own way to list and delete, without our package ---


def _sqs_names(broker_url: str, wanted: tuple[str, ...]) -> list[str]:
    pages = boto_sqs(broker_url).get_paginator("list_queues").paginate(PaginationConfig={"PageSize": 1000})
    queues = [url.rpartition("/")[2] for page in pages for url in page.get("QueueUrls", ())]
    topics = [arn.rpartition(":")[2] for arn in _topic_arns(broker_url)]
    return [*queues, *topics, *(f"{topic} -> {queue}" for topic, queue in subscriptions_on(broker_url, queues))]


def _topic_arns(broker_url: str) -> list[str]:
    pages = boto_sns(broker_url).get_paginator("list_topics").paginate()
    return [one["TopicArn"] for page in pages for one in page.get("Topics", ())]


def subscriptions_on(broker_url: str, besides: Iterable[str] = ()) -> dict[tuple[str, str], str]:
    """Subscription ARNs by topic and queue name, without those of the queues `besides`."""
    pages = boto_sns(broker_url).get_paginator("list_subscriptions").paginate()
    found = [one for page in pages for one in page.get("Subscriptions", ())]
    named = {
        (one["TopicArn"].rpartition(":")[2], one["Endpoint"].rpartition(":")[2]): one["SubscriptionArn"]
        for one in found
    }
    return {key: arn for key, arn in named.items() if key[1] not in set(besides)}


def _sqs_delete(broker_url: str, name: str) -> None:
    topic, _, queue = name.partition(" -> ")
    if queue:
        boto_sns(broker_url).unsubscribe(SubscriptionArn=subscriptions_on(broker_url)[topic, queue])
        return
    client = boto_sqs(broker_url)
    try:
        client.delete_queue(QueueUrl=client.get_queue_url(QueueName=name)["QueueUrl"])
    except client.exceptions.QueueDoesNotExist:
        for arn in _topic_arns(broker_url):
            if arn.endswith(f":{name}"):
                boto_sns(broker_url).delete_topic(TopicArn=arn)


def _redis(broker_url: str) -> Any:
    import redis

    return redis.Redis.from_url(broker_url, decode_responses=True)


def _redis_names(broker_url: str, wanted: tuple[str, ...]) -> list[str]:
    with _redis(broker_url) as client:
        return list(client.scan_iter(count=1000))


def _redis_delete(broker_url: str, name: str) -> None:
    with _redis(broker_url) as client:
        client.delete(name)


def _amqp_names(broker_url: str, wanted: tuple[str, ...]) -> list[str]:
    if shutil.which("rabbitmqctl"):
        listed = [_rabbitmqctl("list_queues"), _rabbitmqctl("list_exchanges")]
        if None not in listed:
            return [name for names in listed if names for name in names]
    # AMQP cannot list queues: ask for those that can be guessed.
    guesses = {f"{prefix}{server}-{kind}" for prefix in wanted for server in _SERVERS for kind in _KINDS}
    exchanges = {f"{prefix}{server}-{kind}" for prefix in wanted for server in _SERVERS for kind in _EXCHANGES}
    return [
        *(name for name in guesses | _NAMES if amqp_queue_exists(broker_url, name)),
        *(name for name in exchanges if amqp_exchange_exists(broker_url, name)),
    ]


def _rabbitmqctl(command: str) -> list[str] | None:
    done = subprocess.run(
        ["rabbitmqctl", command, "-q", "name"], capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout.split() if done.returncode == 0 else None


def amqp_exchange_exists(broker_url: str, name: str) -> bool:
    with Connection(broker_url) as connection, connection.channel() as channel:
        try:
            channel.exchange_declare(name, "direct", passive=True)
        except connection.channel_errors:
            return False
        return True


def amqp_queue_exists(broker_url: str, name: str) -> bool:
    with Connection(broker_url) as connection, connection.channel() as channel:
        try:
            channel.queue_declare(name, passive=True)
        except connection.channel_errors:
            return False
        return True


def _amqp_delete(broker_url: str, name: str) -> None:
    with Connection(broker_url) as connection, connection.channel() as channel:
        channel.queue_delete(name)
        channel.exchange_delete(name)


def _memory_names(broker_url: str, wanted: tuple[str, ...]) -> list[str]:
    bound = MemoryTransport.global_state.bindings
    return [*MemoryChannel.queues, *(f"{key.exchange} -> {key.queue}" for key in bound if _outlived(key.queue))]


def _outlived(queue: str) -> bool:
    return queue not in MemoryChannel.queues


def _memory_delete(broker_url: str, name: str) -> None:
    queue = name.rpartition(" -> ")[2]
    state = MemoryTransport.global_state
    state.queue_bindings_delete(queue)
    for exchange in list(state.exchanges.values()):
        exchange["table"] = [row for row in exchange["table"] if row[2] != queue]
    MemoryChannel.queues.pop(queue, None)


_LIST: dict[str, Callable[[str, tuple[str, ...]], list[str]]] = {
    "sqs": _sqs_names,
    "redis": _redis_names,
    "amqp": _amqp_names,
    "memory": _memory_names,
}
_DELETE: dict[str, Callable[[str, str], None]] = {
    "sqs": _sqs_delete,
    "redis": _redis_delete,
    "amqp": _amqp_delete,
    "memory": _memory_delete,
}
