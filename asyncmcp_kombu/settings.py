"""Settings: one spelling for constructor argument, `ASYNCMCP_*` variable and command-line flag.

A broker URL may hold a password, so it is a SecretStr: it is never shown by repr, log or error.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from asyncmcp_kombu.envelope import MAX_BYTES
from asyncmcp_kombu.topology import DEFAULT_PREFIX

EMBEDDED_BROKER_URL = "sqs://local:local@127.0.0.1:4566"
"""Where `asyncmcp-kombu local` listens by default."""

Seconds = Annotated[float, Field(gt=0)]


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
    publish_retry: Seconds = Field(
        default=60.0, description="Seconds for which a worker tries to send a reply while the broker is away."
    )


def redacted(url: str) -> str:
    """A broker URL that can be shown: without password."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    user = f"{parts.username}:**@" if parts.username else "**@"
    return urlunsplit(parts._replace(netloc=user + host))
