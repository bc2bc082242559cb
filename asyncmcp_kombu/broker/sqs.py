"""Kombu's SQS transport, made fit for RPC: raw bodies, threads that poll, leases, batches, real deletion.

It is an ordinary Kombu transport (`Connection(url, transport=Transport)`, Celery's `sqs://` after
`serve_mcp`), and reads and writes Kombu's own form as well, for Celery's messages. Its threads: one long poll
per consumed queue and one for receipts. The thread that drains events, or the worker's event loop, only
takes messages that have arrived; it never makes a request to receive, acknowledge or give back.

Private names of Kombu 5.7 used here: Channel._put, _update_queue_cache, _resolve_queue_url, _new_boto_client,
_inplace_augment_message, _size, _queue_cache, _noack_queues, _tag_to_queue;
Transport._callbacks, _avail_channels.
tests/brokers/test_sqs_names.py fails when one goes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError
from kombu.transport import SQS, virtual
from kombu.transport.SQS.exceptions import DoesNotExistQueueException, UndefinedQueueException

from asyncmcp_kombu.broker.presence import Sighting
from asyncmcp_kombu.broker.sqs_arrivals import Arrivals
from asyncmcp_kombu.broker.sqs_clients import Clients, Purpose, Service
from asyncmcp_kombu.broker.sqs_errors import MISSING_QUEUE, error_code
from asyncmcp_kombu.broker.sqs_message import to_payload
from asyncmcp_kombu.broker.sqs_poller import LONGEST_PAUSE, SHORT_POLL_PAUSE, Poller
from asyncmcp_kombu.broker.sqs_presence import sightings, tag_as_seen
from asyncmcp_kombu.broker.sqs_publish import publish_all
from asyncmcp_kombu.broker.sqs_qos import QoS
from asyncmcp_kombu.broker.sqs_receipts import Receipt, Receipts
from asyncmcp_kombu.broker.sqs_redrive import set_redrive_policy
from asyncmcp_kombu.broker.sqs_send import Outcome, put_all
from asyncmcp_kombu.broker.sqs_session import new_session
from asyncmcp_kombu.broker.sqs_topics import KnownTopics, Topics
from asyncmcp_kombu.broker.virtual import is_envelope
from asyncmcp_kombu.envelope import MAX_BYTES
from asyncmcp_kombu.errors import QueueNotFound
from asyncmcp_kombu.topology import Topology, is_queue_url

_BUSY_POLL, _JOIN = 0.15, 2.0


class Channel(SQS.Channel):
    """One channel; boto3 clients, pollers and receipts belong to the transport, which its channels share."""

    QoS = QoS
    keeps_order = False  # of messages in standard queues; FIFO queues do
    body_encoding = "utf-8"  # no base64 inside Kombu's own form either
    default_visibility_timeout = 30

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hub = None  # Kombu would poll with pycurl from the hub; pollers do it here
        self._pollers: dict[str, Poller] = {}
        clients = partial(self._client, "topics"), partial(self._client, "requests")
        self._topics = Topics(*clients, self.connection.known_topics)

    # --- queues ---

    def _new_queue(self, queue: str, **kwargs: Any) -> str:
        """As Kombu's, which drops a queue's arguments: here the time to live of messages is the queue's retention."""
        lifetime = (kwargs.get("arguments") or {}).get("x-message-ttl")
        if lifetime is None:
            return super()._new_queue(queue, **kwargs)
        try:
            return self._resolve_queue_url(queue)
        except DoesNotExistQueueException:
            name = self.canonical_queue_name(queue)
            retention = {"MessageRetentionPeriod": str(lifetime // 1000)}
            made = self._create_queue(name, {"VisibilityTimeout": str(self.visibility_timeout), **retention})
            return self._queue_cache.setdefault(name, made["QueueUrl"])

    def _update_queue_cache(self, queue_name_prefix: str) -> None:
        """Kombu lists all queues whenever a channel opens; names are resolved one by one here, when needed."""
        for name, queue in self.predefined_queues.items():
            self._queue_cache[name] = queue["url"]

    def _resolve_queue_url(self, queue: str) -> str:
        if is_queue_url(queue):
            return queue
        name = self.canonical_queue_name(queue)
        if name in self._queue_cache:
            return self._queue_cache[name]
        if self.predefined_queues:
            raise UndefinedQueueException(f"queue {name!r} is not among the predefined queues")
        try:
            url = self.sqs(queue=queue).get_queue_url(QueueName=name)["QueueUrl"]
        except ClientError as error:
            if error_code(error) in MISSING_QUEUE:
                raise DoesNotExistQueueException(f"SQS queue {name!r} does not exist") from None
            raise
        self._queue_cache[name] = url
        return url

    def queue_delete(self, queue: str, if_unused: bool = False, if_empty: bool = False, **kwargs: Any) -> None:
        """Really delete the queue; Kombu deletes only queues that are bound to a named exchange."""
        if self.predefined_queues or (if_empty and self._size(queue)):
            return
        try:
            url = self._resolve_queue_url(queue)
            self._topics.unsubscribe_all(url)
            self.sqs(queue=queue).delete_queue(QueueUrl=url)
        except DoesNotExistQueueException:
            return
        except ClientError as error:
            if error_code(error) not in MISSING_QUEUE:
                raise
        self._queue_cache.pop(self.canonical_queue_name(queue), None)
        self.state.queue_bindings_delete(queue)

    def say_alive(self, queue: str) -> None:
        """Tag the queue with the time; that it cannot be tagged is said once."""
        transport: Transport = self.connection
        transport.may_tag = tag_as_seen(self.sqs(), self._url_to_send_to(queue), warn=transport.may_tag)

    def redrive_to(self, queue: str, dead: str, max_receives: int) -> None:
        set_redrive_policy(self.sqs(), self._url_to_send_to(queue), self._url_to_send_to(dead), max_receives)

    def sightings(self, topology: Topology) -> Iterator[Sighting]:
        return sightings(self.sqs(), topology)

    # --- sending ---

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        outcome = self.put_many([(queue, message)])[0]
        if outcome is not None:
            raise outcome

    def put_many(self, messages: list[tuple[str, dict[str, Any]]]) -> list[Outcome]:
        """Send messages in Kombu's form to their queues, in batches, and return what became of each.

        A message for a queue that does not exist fails: queues are made by declaring, never by sending.
        """
        outcomes = put_all(self.sqs(), self._url_to_send_to, messages, self._limit)
        for (queue, _), outcome in zip(messages, outcomes, strict=True):
            if outcome is not None:  # the queue may be gone, or made again under another URL
                self._queue_cache.pop(self.canonical_queue_name(queue), None)
        return outcomes

    def _url_to_send_to(self, queue: str) -> str:
        try:
            return self._resolve_queue_url(queue)
        except (DoesNotExistQueueException, UndefinedQueueException) as error:
            raise QueueNotFound(f"the SQS queue does not exist (any more): {error}") from None

    @property
    def _limit(self) -> int:
        return self.transport_options.get("max_message_bytes", MAX_BYTES)

    def sqs(self, queue: str | None = None) -> Any:
        if queue is not None and self.predefined_queues:
            return super().sqs(queue=queue)
        return self._client("requests")

    def _client(self, purpose: Purpose) -> Any:
        return self.connection.clients.get(purpose, self._new_client, self.transport_options.get("client-config"))

    def _new_client(self, service: Service, config: Config) -> Any:
        keys = self.conninfo.userid, self.conninfo.password
        return self._new_boto_client(service, self.region, *keys, config=config)

    def _new_boto_client(
        self,
        service: Any,
        region: str | None,
        access_key_id: str | None,
        secret_access_key: str | None,
        session_token: str | None = None,
        config: Config | None = None,
    ) -> Any:
        """As Kombu's, from a session that does not read botocore's files again."""
        session = new_session(
            region_name=region,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key,
            aws_session_token=session_token,
        )
        options = Config(**(self.transport_options.get("client-config") or {})).merge(config or Config())
        return session.client(
            service, use_ssl=self.is_secure is not False, endpoint_url=self.endpoint_url, config=options
        )

    # --- exchanges ---

    def bind_to_topic(self, queue: str, exchange: str, audiences: list[str]) -> None:
        self._topics.bind(self._url_to_send_to(queue), exchange, audiences)

    def unbind_from_topic(self, queue: str, exchange: str, audiences: list[str]) -> None:
        self._topics.unbind(self._url_to_send_to(queue), exchange, audiences)

    def drop_stale_subscriptions(self, exchange: str, *, dry_run: bool) -> list[str]:
        return self._topics.drop_stale(exchange, dry_run=dry_run)

    def basic_publish(self, message: dict[str, Any], exchange: str, routing_key: str, **kwargs: Any) -> Any:
        """An envelope for an exchange goes to its topic, whose subscriptions look at the attribute `Audience`."""
        if not (exchange and is_envelope(message)):
            return super().basic_publish(message, exchange, routing_key, **kwargs)
        self._inplace_augment_message(message, exchange, routing_key)
        outcome = self.publish_many([(exchange, message)])[0]
        if outcome is not None:
            raise outcome
        return None

    def publish_many(self, messages: list[tuple[str, dict[str, Any]]]) -> list[Outcome]:
        """Like `put_many`, to exchanges. One that does not exist is created; that nobody is bound is no failure."""
        return publish_all(self._client("topics"), self._topics, messages, self._limit)

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
                most=self.transport_options.get("max_messages", SQS.SQS_MAX_MESSAGES),
                longest_pause=self.transport_options.get("longest_pause", LONGEST_PAUSE),
                empty_pause=0.0 if self.wait_time_seconds else SHORT_POLL_PAUSE,
                deliver=partial(self.connection.arrived, self, queue),
                interruptions=partial(getattr, self.connection.clients, "interruptions"),
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
                self.connection.clients.interrupt_polls()  # again, because a poll may just be starting
                poller.join(0.05)

    def _room(self) -> int:
        qos: Any = self.qos
        room = qos.room()
        return SQS.SQS_MAX_MESSAGES if room is None else room - self.connection.waiting(self)

    def _receive(self, queue: str, count: int, seconds: int | None = None) -> list[dict[str, Any]]:
        url = self._resolve_queue_url(queue)
        answer = self._client("polls").receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=count,
            WaitTimeSeconds=self.wait_time_seconds if seconds is None else seconds,
            VisibilityTimeout=self.visibility_timeout,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SenderId"],
        )
        return [to_payload(message, queue, url) for message in answer.get("Messages", ())]

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> Any:
        for payload in self._receive(queue, 1):
            message = self.Message(payload, channel=self)
            self.connection.receipts.hold(Receipt.of(message))
            if no_ack:
                self.connection.receipts.delete(Receipt.of(message))
            else:
                self.qos.append(message, message.delivery_tag)
            return message
        return None

    # --- settling ---

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        self._settle(delivery_tag, self.connection.receipts.delete, self.qos.ack)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        receipts = self.connection.receipts
        self._settle(delivery_tag, receipts.release if requeue else receipts.delete, self.qos.reject)

    def give_back(self, delivery_tag: str, seconds: int) -> None:
        """Like rejecting with requeue, but nobody receives the message before so many seconds have passed."""
        release = partial(self.connection.receipts.release, after=seconds)
        self._settle(delivery_tag, release, self.qos.reject)

    def _settle(self, delivery_tag: str, settle: Any, forget: Any) -> None:
        try:
            message = self.qos.get(delivery_tag)
        except KeyError:
            return
        settle(Receipt.of(message))
        forget(delivery_tag)
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
        self.clients = Clients(client.transport_options.get("given_clients"))
        self.known_topics = KnownTopics()
        self.may_tag = True
        self._arrivals = Arrivals(self._hand_over)
        options = client.transport_options
        self.receipts = Receipts(
            partial(self.clients.made, "requests"),
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

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        self._arrivals.join_event_loop(loop)

    # --- arrivals: from the pollers' threads to the thread that drains, or to the hub ---

    def arrived(self, channel: Channel, queue: str, messages: list[dict[str, Any]]) -> None:
        for payload in messages:
            self.receipts.hold(Receipt.of_payload(payload))
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
        receipt = Receipt.of_payload(payload)
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
            self.receipts.release(Receipt.of_payload(payload))
        self.receipts.close()
        self.clients.close()
