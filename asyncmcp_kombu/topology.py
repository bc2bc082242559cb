"""Names of queues and exchanges, and the rule which reply addresses a worker may write to.

Names are fixed by docs/wire.md. They must be legal on SQS (80 characters of letters, digits, `-` and `_`:
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html), whatever broker
is used, so that a fleet can move.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from asyncmcp_kombu.errors import ConfigurationError

DEFAULT_PREFIX = "asyncmcp-"
LONGEST_NAME = 80
CLIENT_ID_LENGTH = 32
_LEGAL = re.compile(r"[A-Za-z0-9_-]+")


def new_client_id() -> str:
    """An unguessable client id: 128 random bits as 32 hexadecimal digits."""
    return secrets.token_hex(CLIENT_ID_LENGTH // 2)


def queue_name_of(address: str) -> str:
    """The queue name in a reply address, which is that name or an SQS queue URL ending in it."""
    try:
        return urlsplit(address).path.rpartition("/")[2] if "://" in address else address
    except ValueError:  # no URL either; no queue has such a name
        return address


@dataclass(frozen=True, slots=True)
class Topology:
    """The queues and exchanges of one server.

    Raises:
        ConfigurationError: a name would not be legal on SQS.
    """

    server: str
    prefix: str = DEFAULT_PREFIX

    def __post_init__(self) -> None:
        if not _LEGAL.fullmatch(self.server):
            raise ConfigurationError(
                f"server name {self.server!r}: use letters, digits, '-' and '_' only, because queues are named after it"
            )
        if self.prefix and not _LEGAL.fullmatch(self.prefix):
            raise ConfigurationError(f"prefix {self.prefix!r}: use letters, digits, '-' and '_' only")
        longest = len(self.reply("x" * CLIENT_ID_LENGTH))
        if longest > LONGEST_NAME:
            raise ConfigurationError(
                f"server name {self.server!r} with prefix {self.prefix!r} gives queue names of {longest} characters; "
                f"SQS allows {LONGEST_NAME}: shorten one of them by {longest - LONGEST_NAME}"
            )

    @property
    def requests(self) -> str:
        """Where clients write JSON-RPC; nothing else is accepted there."""
        return f"{self.prefix}{self.server}-requests"

    @property
    def jobs(self) -> str:
        """Celery messages of the fleet's own: retries, task mode, routed tools."""
        return f"{self.prefix}{self.server}-jobs"

    @property
    def dead(self) -> str:
        """Dead letters: what could not be answered."""
        return f"{self.prefix}{self.server}-dead"

    @property
    def events(self) -> str:
        """The fan-out exchange for change notifications and task status."""
        return f"{self.prefix}{self.server}-events"

    @property
    def control(self) -> str:
        """The fan-out exchange that reaches every worker, for cancellation."""
        return f"{self.prefix}{self.server}-control"

    def reply(self, client_id: str) -> str:
        """The reply queue of one client process."""
        return f"{self.prefix}{self.server}-reply-{client_id}"

    def allows_reply_to(self, address: str) -> bool:
        """Whether a worker may write a reply to `address`: only to reply queues of this very server.

        A URL is reduced to the queue's name, which the broker resolves in the worker's own account: nobody
        can make a worker write into another queue or account.
        """
        name, stem = queue_name_of(address), self.reply("")
        return (
            name.startswith(stem)
            and len(name) > len(stem)
            and len(name) <= LONGEST_NAME
            and _LEGAL.fullmatch(name) is not None
        )
