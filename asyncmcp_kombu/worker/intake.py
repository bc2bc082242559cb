"""Intake: the bootstep by which a worker consumes the request queue.

It has a Kombu consumer of its own, on the channel of Celery's task consumer (so that one prefetch count holds
for both), and never shows these messages to Celery's handler: a message that a client shaped as a Celery task
is refused here. A proper request is handed to the strategy of its tool's task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from celery import bootsteps
from celery.worker.state import reserved_requests
from kombu.common import ignore_errors
from kombu.messaging import Consumer
from mcp_types.jsonrpc import ErrorData

from asyncmcp_kombu.broker import queues
from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.errors import BrokerUnreachable, EnvelopeError, TooManyReceives
from asyncmcp_kombu.server.admission import Admission
from asyncmcp_kombu.server.cancellation import CANCELLED, key_of
from asyncmcp_kombu.server.keys import secret_keys
from asyncmcp_kombu.server.receives import RECEIVES, check_receives, to_be_counted
from asyncmcp_kombu.server.sessions import Sessions
from asyncmcp_kombu.topology import EVERYONE
from asyncmcp_kombu.worker.call import AGAIN, HEADER, CallMessage, arguments_of, call_id, to_header
from asyncmcp_kombu.worker.control import cancelled
from asyncmcp_kombu.worker.deferral import IN_PLACE
from asyncmcp_kombu.worker.dropped import CANCELLED as TAKEN_BACK
from asyncmcp_kombu.worker.dropped import EXPIRED, count_dropped
from asyncmcp_kombu.worker.forking import not_while_forking
from asyncmcp_kombu.worker.process import process_of
from asyncmcp_kombu.worker.registry import tools_of
from asyncmcp_kombu.worker.served import REQUEST_TASK, served_by
from asyncmcp_kombu.worker.trace_context import in_callers_trace, trace_headers

logger = logging.getLogger(__name__)


class Intake(bootsteps.StartStopStep):
    """Consumes the request queue between start and stop of Celery's task consumer."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, c: Any, **kwargs: Any) -> None:
        super().__init__(c, **kwargs)
        served = served_by(c.app)
        assert served is not None
        self._served, self._topology = served, served.topology
        sessions = Sessions(served.topology.server, secret_keys(served.settings))
        self._admission = Admission(served.topology, sessions, served.settings.max_message_bytes)
        self._tools = tools_of(c.app)
        self._consumer: Consumer | None = None
        self._forwarder = ThreadPoolExecutor(1, thread_name_prefix="asyncmcp-forward")
        selected = c.app.amqp.queues
        self._takes_requests = self._topology.requests in selected.consume_from
        self._takes_jobs = self._topology.jobs in selected.consume_from
        if self._takes_requests:
            # Chosen by -Q like any queue, but Celery's own consumer must not see what clients write.
            selected.deselect([self._topology.requests])

    @property
    def _carrying_calls(self) -> set[str]:
        """The queues from which the worker takes calls, and not only what is Celery's own business."""
        routed = {queue for tool in self._tools.values() if (queue := getattr(tool, "queue", None))}
        return {self._topology.requests, self._topology.jobs} | routed

    def start(self, c: Any) -> None:
        channel = c.task_consumer.channel
        if (claims := getattr(channel, "claims", None)) is not None:
            claims.left_to_kombu |= set(c.app.amqp.queues.consume_from) - self._carrying_calls
        if not self._takes_requests:
            return
        queue = queues.request_queue(self._topology)
        queues.ensure(c.connection, queue)
        # Twice as often: before that a worker refuses the message itself, and tells its sender.
        queues.have_dead_letters(c.connection, self._topology, 2 * self._served.settings.max_receives)
        self._consumer = Consumer(channel, [queue(channel)], on_message=partial(self._take, c), auto_declare=False)
        if c.hub is None:
            self._consume()

    def register_with_event_loop(self, c: Any, hub: Any) -> None:
        """Called by Celery when pool and connection are registered: a task handed over earlier is lost."""
        self._consume()

    def _consume(self) -> None:
        if self._consumer is not None:
            self._consumer.consume()
            logger.info("MCP server %r takes requests from %s", self._topology.server, self._topology.requests)

    def stop(self, c: Any) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            ignore_errors(c, consumer.cancel)

    def shutdown(self, c: Any) -> None:
        self.stop(c)
        self._forwarder.shutdown()

    def _take(self, c: Any, message: Any) -> None:
        """One message from the request queue. Whatever is in it, the consumer's loop goes on."""
        try:
            self._admit(c, message)
        except EnvelopeError as error:
            self._refuse(c, message, error)
        except Exception as error:  # whatever it is, it would happen again: no way back to the queue
            logger.exception("a request could not be taken")
            self._refuse(c, message, EnvelopeError(f"the worker could not take the request: {type(error).__name__}"))

    def _admit(self, c: Any, message: Any) -> None:
        info = message.delivery_info or {}
        count = to_be_counted(info, message.headers or {})
        if count is not None:
            self._put_back(c, message, count)
            return
        request = self._admission.admit(message)
        request = replace(request, sender=info.get("sender_id"))
        if request.method == CANCELLED:  # from a client that knows no control exchange
            publisher = process_of(c.app).publisher
            self._settle_after(
                c, message, publisher.publish_to(self._topology.control, replace(request, audience=EVERYONE))
            )
        elif request.kind == "response":  # from a client that answers as it asks, as asyncmcp's do
            inbox = self._topology.inbox_of(request.message.get("id"))
            if inbox is None:
                logger.debug("ignored an answer that nobody waits for")
                message.ack_log_error(logger, c.connection_errors)
            else:
                self._settle_after(c, message, process_of(c.app).publisher.publish(inbox, request))
        else:
            if info.get("redelivered") and self._may_be_a_job(request):
                request = replace(request, expires_at=None)  # its caller was answered, and the job goes on
            if request.expired() or key_of(request) in cancelled:
                count_dropped(c.event_dispatcher, EXPIRED if request.expired() else TAKEN_BACK, request)
                message.ack_log_error(logger, c.connection_errors)
                return
            try:
                check_receives(info, self._served.settings.max_receives, request.request_id)
            except TooManyReceives as error:
                if self._may_be_a_job(request):
                    self._forwarder.submit(self._fail_job, request, error.error_data())
                raise
            self._hand_over(c, message, request)

    def _may_be_a_job(self, request: Envelope) -> bool:
        tool, deferral = self._tools.get(request.name or ""), self._served.deferral
        return tool is not None and deferral is not None and deferral.may_become_a_job(tool)

    def _fail_job(self, request: Envelope, error: ErrorData) -> None:
        assert self._served.deferral is not None
        try:
            with not_while_forking():
                self._served.deferral.fail_call(request, error)
        except Exception:
            logger.exception("it could not be kept that a job failed")

    def _put_back(self, c: Any, message: Any, count: int) -> None:
        """A copy that counts, in place of a message that comes again on a broker that does not count."""
        raw = message.body.encode() if isinstance(message.body, str) else bytes(message.body)
        headers = {**(message.headers or {}), RECEIVES: count}
        publisher = process_of(c.app).publisher
        self._settle_after(c, message, publisher.publish_raw(self._topology.requests, raw, headers))

    def _hand_over(self, c: Any, message: Any, request: Envelope) -> None:
        """To the strategy of the tool's Celery task, or to the queue that the tool is routed to."""
        tool = self._tools.get(request.name or "") if arguments_of(request) is not None else None
        deferral, marks = self._served.deferral, dict[str, Any]()
        queue = getattr(tool, "queue", None)
        if tool is not None and deferral is not None and deferral.admits(tool, request):
            if queue is None and self._has_room(c):
                marks[IN_PLACE] = True
            else:
                tool = None
        if tool is not None and queue and queue not in (self._topology.requests, self._topology.jobs):
            self._forward(c, message, request, queue)
            return
        shadow = None if tool is not None else request.name if request.method == "tools/call" else request.method
        name = tool.name if tool is not None else REQUEST_TASK
        call = CallMessage.around(message, name, request, shadow=shadow, jobs=self._topology.jobs, **marks)
        acknowledge, reject = (
            partial(c.call_soon_ack, settle) for settle in (call.ack_log_error, call.reject_log_error)
        )
        c.strategies[name](call, None, acknowledge, reject, c.on_task_message)

    def _has_room(self, c: Any) -> bool:
        """Whether a job started now keeps no other call waiting: a slot is free, and this worker takes jobs."""
        return self._takes_jobs and len(reserved_requests) < c.pool.num_processes

    def _forward(self, c: Any, message: Any, request: Envelope, queue: str) -> None:
        """Publish the call as a Celery message to the tool's own queue, and acknowledge then."""

        header = to_header(request, without_arguments=True)
        header[AGAIN] = bool((message.delivery_info or {}).get("redelivered"))

        def publish() -> None:
            c.app.send_task(
                request.name,
                kwargs=arguments_of(request),
                task_id=call_id(key_of(request)),
                queue=queue,
                ignore_result=True,
                headers={HEADER: header, **trace_headers(request)},
            )

        self._settle_after(c, message, self._forwarder.submit(in_callers_trace, request, publish))

    def _refuse(self, c: Any, message: Any, error: EnvelopeError) -> None:
        logger.warning("refused a message on %s: %s", self._topology.requests, error)
        count_dropped(c.event_dispatcher, error.reason)
        publisher = process_of(c.app).publisher
        self._settle_after(c, message, self._admission.refuse(message, error, publisher))

    def _settle_after(self, c: Any, message: Any, done: Future[Any]) -> None:
        """Acknowledge when `done` succeeded; give the message back when the broker was away."""

        def settle(future: Future[Any]) -> None:
            error = future.exception()
            if error is not None:
                logger.error("could not pass on a request: %s", error)
            lost = error is not None and isinstance(error, (BrokerUnreachable, *c.connection_errors))
            settle_message: Callable[..., Any] = message.reject_log_error if lost else message.ack_log_error
            arguments = (logger, c.connection_errors, True) if lost else (logger, c.connection_errors)
            c.call_soon_ack(settle_message, *arguments)

        done.add_done_callback(settle)
