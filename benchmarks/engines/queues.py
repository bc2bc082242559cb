"""The stand-in's queues: messages that wait, leases that lapse, and long polls that return when a message comes."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Request = dict[str, Any]
_numbers = itertools.count(1)


class MissingQueueError(Exception):
    """SQS' QueueDoesNotExist."""


@dataclass(slots=True)
class _Message:
    body: str
    attributes: dict[str, Any]
    id: str = field(default_factory=lambda: f"m{next(_numbers)}")
    receives: int = 0


@dataclass(slots=True)
class _Lease:
    message: _Message
    lapses_at: float


class Waiter:
    """A long poll that waits."""

    def __init__(self, queue: _Queue, request: Request, answer: Callable[[Request], None]) -> None:
        self.request, self._queue, self._answer = request, queue, answer
        self._timer = asyncio.get_running_loop().call_later(request.get("WaitTimeSeconds", 0), self.answer)

    def answer(self) -> None:
        """With what there is, or nothing."""
        self.cancel()
        self._answer(self._queue.take(self.request))

    def cancel(self) -> None:
        self._timer.cancel()
        if self in self._queue.waiters:
            self._queue.waiters.remove(self)


class _Queue:
    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: deque[_Message] = deque()
        self.leased: dict[str, _Lease] = {}
        self.waiters: deque[Waiter] = deque()
        self.attributes: dict[str, str] = {
            "QueueArn": f"arn:aws:sqs:us-east-1:000000000000:{name}",
            "CreatedTimestamp": str(int(time.time())),
        }

    def put(self, message: _Message) -> None:
        self.waiting.append(message)
        if self.waiters:  # SQS, too, answers one poll with what is there when it looks
            self.waiters[0].answer()

    def take(self, request: Request) -> Request:
        messages: list[Request] = []
        lapses_at = time.monotonic() + request.get("VisibilityTimeout", 30)
        while self.waiting and len(messages) < request.get("MaxNumberOfMessages", 1):
            message = self.waiting.popleft()
            message.receives += 1
            handle = f"{message.id}.{message.receives}"
            self.leased[handle] = _Lease(message, lapses_at)
            messages.append(
                {
                    "MessageId": message.id,
                    "ReceiptHandle": handle,
                    "Body": message.body,
                    "MD5OfBody": hashlib.md5(message.body.encode(), usedforsecurity=False).hexdigest(),
                    "Attributes": {"ApproximateReceiveCount": str(message.receives), "SenderId": "standin"},
                    "MessageAttributes": message.attributes,
                }
            )
        return {"Messages": messages} if messages else {}


class Queues:
    """All queues of the stand-in, and what botocore can ask of them."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._queues: dict[str, _Queue] = {}

    @property
    def waiting(self) -> int:
        """Messages that wait, in all queues."""
        return sum(len(queue.waiting) for queue in self._queues.values())

    def act(self, action: str, request: Request) -> Request:
        """The answer to any action but ReceiveMessage.

        Raises:
            MissingQueueError: there is no queue of that URL.
        """
        return getattr(self, f"_{action}")(request)

    def receive(self, request: Request, answer: Callable[[Request], None]) -> Waiter | None:
        """Calls `answer` now, or when a message comes or the poll's time is up; returns what waits."""
        queue = self._of(request)
        if queue.waiting or not request.get("WaitTimeSeconds"):
            answer(queue.take(request))
            return None
        queue.waiters.append(waiter := Waiter(queue, request, answer))
        return waiter

    def give_back_lapsed(self) -> None:
        """Called now and then: messages whose lease has lapsed wait again."""
        now = time.monotonic()
        for queue in self._queues.values():
            for handle in [handle for handle, lease in queue.leased.items() if lease.lapses_at <= now]:
                queue.put(queue.leased.pop(handle).message)

    def put(self, queue_arn: str, body: str, attributes: dict[str, Any]) -> None:
        """Deliver for a topic."""
        queue = self._queues.get(queue_arn.rpartition(":")[2])
        if queue is not None:
            queue.put(_Message(body, attributes))

    def _of(self, request: Request) -> _Queue:
        name = request["QueueUrl"].rpartition("/")[2]
        if name not in self._queues:
            raise MissingQueueError(f"the queue {name} does not exist")
        return self._queues[name]

    def _ListQueues(self, request: Request) -> Request:  # noqa: N802
        prefix = request.get("QueueNamePrefix", "")
        return {"QueueUrls": [self._base_url + name for name in self._queues if name.startswith(prefix)]}

    def _CreateQueue(self, request: Request) -> Request:  # noqa: N802
        queue = self._queues.setdefault(request["QueueName"], _Queue(request["QueueName"]))
        queue.attributes.update(request.get("Attributes", {}))
        return {"QueueUrl": self._base_url + request["QueueName"]}

    def _GetQueueUrl(self, request: Request) -> Request:  # noqa: N802
        if request["QueueName"] not in self._queues:
            raise MissingQueueError(f"the queue {request['QueueName']} does not exist")
        return {"QueueUrl": self._base_url + request["QueueName"]}

    def _GetQueueAttributes(self, request: Request) -> Request:  # noqa: N802
        queue = self._of(request)
        counts = {"ApproximateNumberOfMessages": str(len(queue.waiting))}
        return {"Attributes": {**queue.attributes, **counts}}

    def _SetQueueAttributes(self, request: Request) -> Request:  # noqa: N802
        self._of(request).attributes.update(request["Attributes"])
        return {}

    def _TagQueue(self, request: Request) -> Request:  # noqa: N802
        self._of(request)
        return {}

    def _ListQueueTags(self, request: Request) -> Request:  # noqa: N802
        return {"Tags": {}}

    def _DeleteQueue(self, request: Request) -> Request:  # noqa: N802
        queue = self._of(request)
        del self._queues[queue.name]
        for waiter in list(queue.waiters):
            waiter.answer()
        return {}

    def _PurgeQueue(self, request: Request) -> Request:  # noqa: N802
        self._of(request).waiting.clear()
        return {}

    def _SendMessage(self, request: Request) -> Request:  # noqa: N802
        message = _Message(request["MessageBody"], request.get("MessageAttributes", {}))
        self._of(request).put(message)
        md5 = hashlib.md5(message.body.encode(), usedforsecurity=False).hexdigest()
        return {"MessageId": message.id, "MD5OfMessageBody": md5}

    def _SendMessageBatch(self, request: Request) -> Request:  # noqa: N802
        sent: list[Request] = []
        queue, waiting = self._of(request), []
        for entry in request["Entries"]:
            message = _Message(entry["MessageBody"], entry.get("MessageAttributes", {}))
            waiting.append(message)
            md5 = hashlib.md5(message.body.encode(), usedforsecurity=False).hexdigest()
            sent.append({"Id": entry["Id"], "MessageId": message.id, "MD5OfMessageBody": md5})
        queue.waiting.extend(waiting[:-1])
        queue.put(waiting[-1])
        return {"Successful": sent, "Failed": []}

    def _DeleteMessage(self, request: Request) -> Request:  # noqa: N802
        self._of(request).leased.pop(request["ReceiptHandle"], None)
        return {}

    def _DeleteMessageBatch(self, request: Request) -> Request:  # noqa: N802
        queue = self._of(request)
        for entry in request["Entries"]:
            queue.leased.pop(entry["ReceiptHandle"], None)
        return {"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]], "Failed": []}

    def _ChangeMessageVisibility(self, request: Request) -> Request:  # noqa: N802
        queue = self._of(request)
        lease = queue.leased.get(request["ReceiptHandle"])
        if lease is not None:
            lease.lapses_at = time.monotonic() + request["VisibilityTimeout"]
            if not request["VisibilityTimeout"]:
                queue.put(queue.leased.pop(request["ReceiptHandle"]).message)
        return {}

    def _ChangeMessageVisibilityBatch(self, request: Request) -> Request:  # noqa: N802
        for entry in request["Entries"]:
            self._ChangeMessageVisibility({"QueueUrl": request["QueueUrl"], **entry})
        return {"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]], "Failed": []}
