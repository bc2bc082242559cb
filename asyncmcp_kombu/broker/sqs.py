"""Kombu's SQS transport, made fit for RPC: raw bodies, threads that poll, leases, batches, real deletion.

It is an ordinary Kombu transport (`Connection(url, transport=Transport)`, Celery's `sqs://` after
`serve_mcp`), and reads and writes Kombu's own form as well, for Celery's messages. Its threads: one long poll
per consumed queue and one for receipts. The thread that drains events, or the worker's event loop, only
takes messages that have arrived; it never makes a request to receive, acknowledge or give back.

Private names of Kombu 5.7 used here: Channel._put, _update_queue_cache, _resolve_queue_url, _new_boto_client,
_size, _queue_cache, _noack_queues, _tag_to_queue; QoS._delivered, _flush, _on_collect; Transport._callbacks,
_avail_channels.
tests/brokers/test_sqs_names.py fails when one goes.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from kombu.transport import SQS, virtual
from kombu.transport.SQS.exceptions import DoesNotExistQueueException, UndefinedQueueException

from asyncmcp_kombu.broker.sqs_arrivals import Arrivals
from asyncmcp_kombu.broker.sqs_http import InterruptibleRequests
from asyncmcp_kombu.broker.sqs_message import to_entry, to_payload
from asyncmcp_kombu.broker.sqs_poller import Poller
from asyncmcp_kombu.broker.sqs_receipts import Receipt, Receipts
from asyncmcp_kombu.broker.sqs_send import MISSING_QUEUE, Outcome, check_size, explain, send_all
from asyncmcp_kombu.envelope import MAX_BYTES

_BUSY_POLL, _JOIN = 0.15, 2.0


class QoS(virtual.QoS):
    """Counts what is unacknowledged; giving back is the receipts' work, without Kombu's dump files."""

    def restore_unacked_once(self, stderr: Any = None) -> None:
        self._on_collect.cancel()
        self.restore_unacked()
        delivered: Any = self._delivered
        delivered.restored = True  # Kombu's mark that this was done

    def restore_unacked(self) -> list[Any]:
        self._flush()
        while self._delivered:
            _, message = self._delivered.popitem()
            self.channel.connection.receipts.release(_receipt(message))
        return []

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        self.ack(delivery_tag)


class Channel(SQS.Channel):
    """One channel; boto3 clients, pollers and receipts belong to the transport, which its channels share."""

    QoS = QoS
    body_encoding = "utf-8"  # no base64 inside Kombu's own form either
    default_visibility_timeout = 30

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hub = None  # Kombu would poll with pycurl from the hub; pollers do it here
        self._pollers: dict[str, Poller] = {}

    # --- queues ---

    def _update_queue_cache(self, queue_name_prefix: str) -> None:
        """Kombu lists all queues whenever a channel opens; names are resolved one by one here, when needed."""
        for name, queue in self.predefined_queues.items():
            self._queue_cache[name] = queue["url"]

    def _resolve_queue_url(self, queue: str) -> str:
        name = self.canonical_queue_name(queue)
        if name in self._queue_cache:
            return self._queue_cache[name]
        if self.predefined_queues:
            raise UndefinedQueueException(f"queue {name!r} is not among the predefined queues")
        try:
            url = self.sqs(queue=queue).get_queue_url(QueueName=name)["QueueUrl"]
        except ClientError as error:
            if error.response["Error"]["Code"] in MISSING_QUEUE:
                raise DoesNotExistQueueException(f"SQS queue {name!r} does not exist") from None
            raise
        self._queue_cache[name] = url
        return url

    def queue_delete(self, queue: str, if_unused: bool = False, if_empty: bool = False, **kwargs: Any) -> None:
        """Really delete the queue; Kombu deletes only queues that are bound to a named exchange."""
        if self.predefined_queues or (if_empty and self._size(queue)):
            return
        try:
            self.sqs(queue=queue).delete_queue(QueueUrl=self._resolve_queue_url(queue))
        except DoesNotExistQueueException:
            return
        except ClientError as error:
            if error.response["Error"]["Code"] not in MISSING_QUEUE:
                raise
        self._queue_cache.pop(self.canonical_queue_name(queue), None)
        self.state.queue_bindings_delete(queue)

    # --- sending ---

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        outcome = self.put_many([(queue, message)])[0]
        if outcome is not None:
            raise outcome

    def put_many(self, messages: list[tuple[str, dict[str, Any]]]) -> list[Outcome]:
        """Send messages in Kombu's form to their queues, in batches, and return what became of each.

        A message for a queue that does not exist fails: queues are made by declaring, never by sending.
        """
        outcomes: list[Outcome] = [None] * len(messages)
        entries: dict[int, dict[str, Any]] = {}
        limit = self.transport_options.get("max_message_bytes", MAX_BYTES)
        for i, (queue, message) in enumerate(messages):
            try:
                entry = to_entry(self._resolve_queue_url(queue), message)
                check_size(entry, limit)
            except (DoesNotExistQueueException, UndefinedQueueException) as error:
                outcomes[i] = explain(_missing(str(error)))
            except (BotoCoreError, ClientError, OSError) as error:
                outcomes[i] = explain(error)
            except Exception as error:
                outcomes[i] = error
            else:
                entries[i] = entry
        sent = send_all(self.sqs(), list(entries.values()), limit) if entries else []
        for i, outcome in zip(entries, sent, strict=True):
            outcomes[i] = outcome
            if outcome is not None:  # the queue may be gone, or made again under another URL
                self._queue_cache.pop(self.canonical_queue_name(messages[i][0]), None)
        return outcomes

    def new_client(self, config: Config) -> Any:
        """A boto3 client with the connection's credentials and endpoint."""
        return self._new_boto_client(
            service="sqs",
            region=self.region,
            access_key_id=self.conninfo.userid,
            secret_access_key=self.conninfo.password,
            config=config,
        )

    def sqs(self, queue: str | None = None) -> Any:
        if queue is not None and self.predefined_queues:
            return super().sqs(queue=queue)
        return self.connection.client_for(self, "requests")

    # --- receiving ---

    def basic_consume(self, queue: str, no_ack: bool, callback: Any, consumer_tag: str, *args: Any, **kw: Any) -> None:
        # Kombu's own basic_consume would schedule its pycurl poll: go past it to the virtual channel.
        virtual.Channel.basic_consume(self, queue, no_ack, callback, consumer_tag, *args, **kw)
        if no_ack:
            self._noack_queues.add(queue)
        if queue not in self._pollers:
            self._pollers[queue] = Poller(
                queue,
                receive=partial(self._receive, queue),
                room=self._room,
                deliver=partial(self.connection.arrived, self, queue),
                interruptions=partial(getattr, self.connection, "interruptions"),
            )

    def basic_cancel(self, consumer_tag: str) -> None:
        queue = self._tag_to_queue.get(consumer_tag)
        super().basic_cancel(consumer_tag)
        poller = self._pollers.pop(queue, None) if queue is not None else None
        if poller is not None:
            poller.stop()
            # Under traffic a poll returns by itself at once; an interrupted one may take messages with it, which
            # then come again only when their lease has lapsed.
            poller.join(_BUSY_POLL)
            give_up_at = time.monotonic() + _JOIN
            while poller.is_alive() and time.monotonic() < give_up_at:
                self.connection.interrupt_polls()  # again, because a poll may just be starting
                poller.join(0.05)

    def _room(self) -> int:
        estimate = self.qos.can_consume_max_estimate()
        return SQS.SQS_MAX_MESSAGES if estimate is None else estimate - self.connection.waiting(self)

    def _receive(self, queue: str, count: int) -> list[dict[str, Any]]:
        url = self._resolve_queue_url(queue)
        answer = self.connection.client_for(self, "polls").receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=count,
            WaitTimeSeconds=self.wait_time_seconds,
            VisibilityTimeout=self.visibility_timeout,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SenderId"],
        )
        return [to_payload(message, queue, url) for message in answer.get("Messages", ())]

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> Any:
        for payload in self._receive(queue, 1):
            message = self.Message(payload, channel=self)
            self.connection.receipts.hold(_receipt(message))
            if no_ack:
                self.connection.receipts.delete(_receipt(message))
            else:
                self.qos.append(message, message.delivery_tag)
            return message
        return None

    # --- settling ---

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        self._settle(delivery_tag, self.connection.receipts.delete)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        receipts = self.connection.receipts
        self._settle(delivery_tag, receipts.release if requeue else receipts.delete)

    def _settle(self, delivery_tag: str, settle: Any) -> None:
        try:
            message = self.qos.get(delivery_tag)
        except KeyError:
            return
        settle(_receipt(message))
        self.qos.ack(delivery_tag)
        for poller in list(self._pollers.values()):
            poller.room_changed()

    def basic_qos(self, prefetch_size: int = 0, prefetch_count: int = 0, apply_global: bool = False) -> None:
        super().basic_qos(prefetch_size, prefetch_count, apply_global)
        for poller in list(self._pollers.values()):
            poller.room_changed()


class Transport(SQS.Transport):
    """The connection: boto3 clients, arrivals and receipts, shared by its channels."""

    Channel = Channel
    wait_time_seconds = 20

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}
        self._polls: InterruptibleRequests | None = None
        self.interruptions = 0
        self._arrivals = Arrivals(self._hand_over)
        options = client.transport_options
        self.receipts = Receipts(
            lambda: self._clients["requests"],
            int(options.get("visibility_timeout", Channel.default_visibility_timeout)),
        )

    def establish_connection(self) -> Any:
        """Ask SQS something, so that a broker that is away is noticed here, where Kombu tries again with pauses."""
        connection = super().establish_connection()
        channel: Channel = self._avail_channels[-1]
        try:
            channel.sqs().list_queues(MaxResults=1)
        except ClientError:
            pass  # it answers; whether it allows this is of no interest
        except BaseException:
            self._avail_channels.pop().close()
            raise
        return connection

    def client_for(self, channel: Channel, purpose: str) -> Any:
        """The boto3 client for `requests`, or the one for `polls`, whose requests can be interrupted."""
        with self._lock:
            if purpose not in self._clients:
                self._clients[purpose] = self._new_client(channel, purpose)
                if purpose == "polls":
                    self._polls = InterruptibleRequests(self._clients[purpose])
            return self._clients[purpose]

    def _new_client(self, channel: Channel, purpose: str) -> Any:
        attempts = {"mode": "standard", "total_max_attempts": 1 if purpose == "polls" else 2}
        timeouts = {"connect_timeout": 5, "read_timeout": 30 if purpose == "polls" else 10}
        config = {"max_pool_connections": 32, "retries": attempts, **timeouts}
        config |= channel.transport_options.get("client-config") or {}
        return channel.new_client(Config(**config))

    def interrupt_polls(self) -> None:
        self.interruptions += 1
        if self._polls is not None:
            self._polls.interrupt()

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        self._arrivals.join_event_loop(loop)

    # --- arrivals: from the pollers' threads to the thread that drains, or to the hub ---

    def arrived(self, channel: Channel, queue: str, messages: list[dict[str, Any]]) -> None:
        for payload in messages:
            self.receipts.hold(_receipt_of(payload))
        self._arrivals.put(channel, queue, messages)

    def waiting(self, channel: Channel) -> int:
        """Messages that have arrived for the channel and are not delivered yet."""
        return self._arrivals.waiting(channel)

    def wake(self) -> None:
        """Have a `drain_events` that waits in another thread return at once, with TimeoutError."""
        self._arrivals.wake()

    def drain_events(self, connection: Any, timeout: float | None = None) -> None:
        self._arrivals.deliver(timeout)

    def _hand_over(self, channel: Channel, queue: str, payload: dict[str, Any]) -> None:
        receipt = _receipt_of(payload)
        callbacks: dict[str, Any] = self._callbacks or {}
        callback = callbacks.get(queue)
        if callback is None or channel.closed:  # cancelled meanwhile
            self.receipts.release(receipt)
        elif queue in self._noack_queues:
            self.receipts.delete(receipt)
            callback(payload)
        else:
            callback(payload)

    def close_connection(self, connection: Any) -> None:
        self._arrivals.leave_event_loop()
        super().close_connection(connection)
        for payload in self._arrivals.taken_back():
            self.receipts.release(_receipt_of(payload))
        self.receipts.close()
        for client in self._clients.values():
            client.close()


def _receipt(message: Any) -> Receipt:
    return Receipt(message.delivery_info["queue_url"], message.delivery_tag)


def _receipt_of(payload: dict[str, Any]) -> Receipt:
    properties = payload["properties"]
    return Receipt(properties["delivery_info"]["queue_url"], properties["delivery_tag"])


def _missing(text: str) -> ClientError:
    return ClientError({"Error": {"Code": "QueueDoesNotExist", "Message": text}}, "GetQueueUrl")
