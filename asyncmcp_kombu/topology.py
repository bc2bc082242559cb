"""Names of queues and exchanges, and the rule which reply addresses a worker may write to.

Names are fixed by docs/wire.md. They must be legal on SQS (80 characters of letters, digits, `-` and `_`:
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html), whatever broker
is used, so that a fleet can move.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Literal, Protocol
from urllib.parse import urlsplit

from asyncmcp_kombu.errors import ConfigurationError

DEFAULT_PREFIX = "asyncmcp-"
LONGEST_NAME = 80
CLIENT_ID_LENGTH = 32
LONGEST_CLIENT_ID = 64
WORKER_ID_LENGTH = 16
EVERYONE = "*"
"""The audience that every bound queue may join; no client id can be this."""

QueueKind = Literal["requests", "jobs", "dead", "reply", "durable", "control"]
_LEGAL = re.compile(r"[A-Za-z0-9_-]+")
_TOPIC = re.compile(r"arn:[\w-]+:sns:[\w-]+:[0-9]+:[A-Za-z0-9_-]{1,256}(\.fifo)?", re.ASCII)
_QUESTION = re.compile(r"([0-9a-f]{32})\.[0-9a-f]{32}")
_OF_ONE_PROCESS = re.compile(r".*-(reply|control)-(?!(.*-)?(requests|jobs|dead)$)[A-Za-z0-9_-]+")
_DURABLE, _AUDIENCE = "durable-", "audience-"
_DURABLE_REPLY = re.compile(rf".*-reply-{_DURABLE}[A-Za-z0-9_-]+")
_ANOTHER_SERVERS = re.compile(r"(^|-)((requests|jobs|dead)$|(reply|control)-)")


def new_client_id() -> str:
    """An unguessable client id: 128 random bits as 32 hexadecimal digits."""
    return secrets.token_hex(CLIENT_ID_LENGTH // 2)


def new_question(inbox: str | None) -> str:
    """An unguessable id for what a server asks a client; it says to which inbox the answer goes."""
    owner = (inbox or "").rpartition("-reply-")[2]
    return f"{owner}.{new_client_id()}" if owner else new_client_id()


def new_worker_id() -> str:
    """The id of one worker process: 64 random bits as 16 hexadecimal digits."""
    return secrets.token_hex(WORKER_ID_LENGTH // 2)


def belongs_to_one_process(queue_name: str) -> bool:
    """Whether this is the name of some server's reply or control queue, which goes with its owner."""
    return _OF_ONE_PROCESS.fullmatch(queue_name) is not None and not is_durable_reply(queue_name)


def is_durable_reply(queue_name: str) -> bool:
    """Whether this is the name of some server's durable reply queue, which waits for its owner to come back."""
    return _DURABLE_REPLY.fullmatch(queue_name) is not None


def is_client_id(text: str) -> bool:
    """Whether this can be a client id that queues are named after and messages are published for.

    At most 64 letters, digits, `-` and `_`, and nothing that makes a queue of another server of the queue's name.
    """
    return (
        len(text) <= LONGEST_CLIENT_ID and _LEGAL.fullmatch(text) is not None and _ANOTHER_SERVERS.search(text) is None
    )


def queue_name_of(address: str) -> str:
    """The queue name in a reply address, which is that name or an SQS queue URL ending in it."""
    try:
        return urlsplit(address).path.rpartition("/")[2] if "://" in address else address
    except ValueError:  # no URL either; no queue has such a name
        return address


def control_queue(control: str) -> str:
    """A new queue for one process of a server with that control exchange."""
    return f"{control}-{new_worker_id()}"


def is_queue_url(name: str) -> bool:
    """Whether a queue is known by its URL, as SQS', rather than by name."""
    return "://" in name


def is_topic(address: str) -> bool:
    """Whether a reply address is an SNS topic's ARN rather than a queue."""
    return _TOPIC.fullmatch(address) is not None


class Routes(Protocol):
    """Where the messages of one server travel: queues named after it (`Topology`) or known by URL (`sqs/routes.py`).

    `dead`, `control` and `events` may be None: then a message that nobody can be told about is only logged,
    cancellations come on the request queue, and a subscription's events with its own answers.
    """

    @property
    def server(self) -> str: ...
    @property
    def requests(self) -> str: ...
    @property
    def dead(self) -> str | None: ...
    @property
    def control(self) -> str | None: ...
    @property
    def events(self) -> str | None: ...
    @property
    def replies(self) -> str:
        """What is expected as a reply address, for an error's text."""
        ...

    def reply_route(self, address: str | None, delivered_to: str | None = None) -> str | None:
        """Where to publish what is for a reply address, a queue or a topic's ARN; None when that is not allowed.

        Args:
            address: as the client gave it, or None when it gave none.
            delivered_to: URL of the queue that the client's message came from, on SQS.
        """
        ...

    def new_inbox(self) -> str | None:
        """Name of a queue for answers to what the server asks a client; None when they come as requests do."""
        ...

    def inbox_of(self, question: object) -> str | None:
        """The inbox of the process that asked, by the id of its question, for clients that answer as they ask."""
        ...


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

    def durable_reply(self, name: str) -> str:
        """The reply queue that outlives its client: `name` is the client's id.

        Raises:
            ConfigurationError: queues cannot be named after it.
        """
        if name.startswith(_AUDIENCE):
            raise ConfigurationError(f"{name!r} cannot name a durable queue: {_AUDIENCE!r} is for those of audiences")
        return self._durable(_DURABLE, name)

    def durable_audience(self, name: str) -> str:
        """The queue of an audience of that name, which outlives it. Raises as `durable_reply` does."""
        return self._durable(_DURABLE + _AUDIENCE, name)

    def _durable(self, stem: str, name: str) -> str:
        queue = self.reply(stem + name)
        if not is_client_id(name) or len(queue) > LONGEST_NAME:
            room = min(LONGEST_CLIENT_ID, LONGEST_NAME - len(self.reply(stem)))
            raise ConfigurationError(
                f"{name!r} cannot name a durable queue: use at most {room} letters, digits, '-' and '_', and none of "
                "the words for queues (as in 'x-requests', 'reply-x')"
            )
        return queue

    @property
    def replies(self) -> str:
        """What a reply address looks like."""
        return f"a reply queue of this server ({self.reply('…')}), or its exchange {self.events} with a ClientId,"

    def new_inbox(self) -> str:
        """Name of a queue for answers to what the server asks a client."""
        return self.reply(new_client_id())

    def inbox_of(self, question: object) -> str | None:
        """See `Routes.inbox_of`."""
        found = _QUESTION.fullmatch(question) if isinstance(question, str) else None
        return None if found is None else self.reply(found[1])

    def control_queue(self, worker_id: str) -> str:
        """Where one worker process hears what is published to the control exchange."""
        return f"{self.control}-{worker_id}"

    def kind_of(self, queue_name: str) -> QueueKind | None:
        """What the queue is to this server; None when it is another server's, or nobody's.

        A name that might belong to a server whose name continues ours (`a-reply-b-requests`, for server `a`)
        counts as that server's: whoever deletes by kind must not err.
        """
        stem = f"{self.prefix}{self.server}-"
        if not queue_name.startswith(stem) or len(queue_name) > LONGEST_NAME or not _LEGAL.fullmatch(queue_name):
            return None
        match queue_name.removeprefix(stem).partition("-"):
            case ("requests" | "jobs" | "dead") as kind, "", "":
                return kind
            case ("reply" | "control") as kind, "-", owner if owner and not _ANOTHER_SERVERS.search(owner):
                return "durable" if is_durable_reply(queue_name) else kind
            case _:
                return None

    def fans_out(self, address: str) -> bool:
        """Whether the address asks for replies by fan-out: it is the name of this server's events exchange."""
        return address == self.events

    def allows_reply_to(self, address: str) -> bool:
        """Whether a worker may write a reply to `address`: only to reply queues of this very server.

        A URL is reduced to the queue's name, which the broker resolves in the worker's own account: nobody
        can make a worker write into another queue or account.
        """
        return self._is_reply(queue_name_of(address))

    def reply_route(self, address: str | None, delivered_to: str | None = None) -> str | None:
        """The reply queue's name; or the ARN of a topic, named as reply queues are, of the request queue's account.

        Or the events exchange, for replies by fan-out. See `Routes.reply_route`.
        """
        if address is None or self.fans_out(address):
            return address
        if is_topic(address):
            account, name = address.split(":")[4:]
            own = urlsplit(delivered_to or "").path.strip("/").partition("/")[0]
            return address if account == own and self._is_reply(name) else None
        return queue_name_of(address) if self.allows_reply_to(address) else None

    def _is_reply(self, name: str) -> bool:
        stem = self.reply("")
        return (
            name.startswith(stem)
            and len(name) > len(stem)
            and len(name) <= LONGEST_NAME
            and _LEGAL.fullmatch(name) is not None
        )
