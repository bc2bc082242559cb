"""Settings: one spelling for constructor argument, `ASYNCMCP_*` variable and command-line flag.

A broker URL may hold a password, so it is a SecretStr: it is never shown by repr, log or error.
"""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from asyncmcp_kombu.envelope import MAX_BYTES
from asyncmcp_kombu.topology import DEFAULT_PREFIX

EMBEDDED_BROKER_URL = "sqs://local:local@127.0.0.1:4566"
"""Where `asyncmcp-kombu local` listens by default."""

SHORTEST_KEY = 32
DURABLE_RETENTION = 1_209_600
"""Seconds: 14 days, the longest that SQS keeps a message.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""

Seconds = Annotated[float, Field(gt=0)]
Dedupe = Literal["redelivered", "always", "off"]
"""When the recorded outcome of a call is looked up before its tool runs."""


class Settings(BaseSettings):
    """What a process of this package needs to know; every field can come from the environment.

    Raises:
        pydantic.ValidationError: a value is out of range; the text names the field and the range.
    """

    model_config = SettingsConfigDict(env_prefix="ASYNCMCP_", extra="ignore")

    broker_url: SecretStr = Field(
        default=SecretStr(EMBEDDED_BROKER_URL),
        description="sqs://, amqp://, redis:// or memory:// URL. `sqs://` alone is AWS with boto3's own credentials.",
    )
    server: str = Field(default="workers", description="Name of the server, after which its queues are named.")
    prefix: str = Field(default=DEFAULT_PREFIX, description="What every queue and exchange name starts with.")
    visibility_timeout: Annotated[int, Field(ge=2, le=43_200)] = Field(
        default=30,
        description="Seconds of a lease: after a crash, an unfinished call is given to another worker this soon. "
        "Renewed while a call waits or runs, so it need not cover a tool's duration.",
    )
    wait_time: Annotated[int, Field(ge=1, le=20)] = Field(
        default=20, description="Seconds that one long poll on SQS waits for a message."
    )
    max_message_bytes: Annotated[int, Field(ge=1_024)] = Field(
        default=MAX_BYTES, description="Largest message accepted or sent, in bytes."
    )
    max_attempts: Annotated[int, Field(ge=1)] = Field(
        default=3, description="How often a call is started when the process that runs it keeps dying."
    )
    max_receives: Annotated[int, Field(ge=1, le=500)] = Field(
        default=5,
        description="How often a request may be received; one more time, and its caller gets an error and the message "
        "goes to the dead-letter queue. On SQS the queue's own redrive policy, at twice this, is the backstop.",
    )
    dedupe: Dedupe = Field(
        default="redelivered",
        description="When a finished call is answered from its record and not run again: when the broker delivers it "
        "again, `always` (also when its client sends it again), or `off`; a tool may say `dedupe=`.",
    )
    outcome_ttl: Seconds = Field(
        default=3_600.0, description="Seconds for which the answer of a call is kept in the result backend."
    )
    publish_retry: Seconds = Field(
        default=60.0, description="Seconds for which a worker tries to send a reply while the broker is away."
    )
    durable_retention: Annotated[int, Field(ge=60, le=DURABLE_RETENTION)] = Field(
        default=DURABLE_RETENTION,
        description="Seconds for which a durable reply queue keeps an answer; fixed when the queue is made (SQS, "
        "RabbitMQ), or by who publishes (Redis).",
    )
    task_ttl: Seconds = Field(
        default=86_400.0,
        description="Seconds from its creation for which a task can be asked for; a tool may say `ttl=`.",
    )
    task_poll_interval: Seconds = Field(
        default=1.0, description="Seconds that a client is asked to let pass between two looks at a task."
    )
    task_inline_budget: Annotated[float, Field(ge=0)] = Field(
        default=1.0, description="Seconds after which a call of a `task='auto'` tool becomes a task."
    )
    task_fallback: Literal["token", "wait"] = Field(
        default="token",
        description="What a client without the Tasks extension gets when a tool is slow: after the wait budget a token "
        "for `task_result`, or nothing but the answer, however long it takes.",
    )
    task_wait_budget: Annotated[float, Field(ge=0)] = Field(
        default=45.0, description="Seconds for which such a client just waits; hosts give up at 60."
    )
    result_backend: SecretStr | None = Field(
        default=None,
        description="Celery result backend of a fleet whose app names none: where tasks are kept. Default: SQLite in a "
        "file of this user.",
    )
    secret_key: SecretStr | None = Field(
        default=None,
        description="Signs session ids and seals requestState: the same on all workers of a fleet, 32 bytes or more. "
        "Default: a key that is made once per user and machine.",
    )
    previous_secret_keys: list[SecretStr] = Field(
        default_factory=list[SecretStr],
        description="Keys that are still accepted while a new secret_key is rolled out, as a JSON list.",
    )

    @field_validator("secret_key", "previous_secret_keys")
    @classmethod
    def _long_enough(cls, value: SecretStr | list[SecretStr] | None) -> SecretStr | list[SecretStr] | None:
        for key in value if isinstance(value, list) else [value]:
            if key is not None and len(key.get_secret_value().encode()) < SHORTEST_KEY:
                raise ValueError(
                    f"a secret key has at least {SHORTEST_KEY} bytes; make one with: "
                    'python -c "import secrets; print(secrets.token_hex(32))"'
                )
        return value


def redacted(url: str) -> str:
    """A broker URL that can be shown: without password."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    user = f"{parts.username}:**@" if parts.username else "**@"
    return urlunsplit(parts._replace(netloc=user + host))
