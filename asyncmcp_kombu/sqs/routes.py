"""Routes by URL: one request queue, and answers to wherever the client asks, within a rule."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from asyncmcp_kombu.topology import is_queue_url, is_topic, queue_name_of

_QUEUE = re.compile(r"[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo")


@dataclass(frozen=True, slots=True)
class UrlRoutes:
    """Where the messages of a server travel that is known by the URL of its request queue. See `topology.Routes`.

    Attributes:
        requests: the queue's URL; for a client that publishes requests, the ARN of the topic.
        allowed: patterns of reply addresses; None: those beside the request queue.
        default_reply: where answers go when a client says nothing: the response topic.
    """

    requests: str
    dead: str | None = None
    allowed: tuple[str, ...] | None = None
    default_reply: str | None = None
    control: None = None
    events: None = None

    @property
    def server(self) -> str:
        """The queue's name. SessionIds are sealed for it."""
        return queue_name_of(self.requests)

    @property
    def replies(self) -> str:
        """What is expected as a reply address."""
        if self.allowed is None:
            return "the URL of another queue, or the ARN of a topic, of the request queue's endpoint and account"
        return f"one like {' or '.join(self.allowed)}"

    def reply_route(self, address: str | None, delivered_to: str | None = None) -> str | None:
        """The address itself, when it is allowed."""
        if address is None or address == self.default_reply:
            return self.default_reply
        if not (is_queue_url(address) or is_topic(address)) or address in (self.requests, self.dead):
            return None
        if self.allowed is not None:
            return address if any(fnmatchcase(address, pattern) for pattern in self.allowed) else None
        return address if self._is_beside(address) else None

    def new_inbox(self) -> None:
        """Clients answer by way of the request queue."""
        return

    def inbox_of(self, question: object) -> None:
        """There are no inboxes."""
        return

    def _is_beside(self, address: str) -> bool:
        """Whether it is of the same account, and of the same endpoint or region, as the request queue."""
        beside, _, _ = self.requests.rpartition("/")
        if is_topic(address):
            _, _, _, region, account, _ = address.split(":")
            host = urlsplit(self.requests).netloc
            in_region = not host.endswith((".amazonaws.com", ".amazonaws.com.cn")) or f".{region}." in f".{host}"
            return account == beside.rpartition("/")[2] and in_region
        place, _, name = address.rpartition("/")
        return place == beside and _QUEUE.fullmatch(name) is not None
