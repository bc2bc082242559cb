"""Service: the requests of many clients, in both eras, served side by side in one event loop."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.abc
import anyio.to_thread

from asyncmcp_kombu.broker.connection import connector
from asyncmcp_kombu.envelope import Envelope
from asyncmcp_kombu.server.back_channel import BackChannel
from asyncmcp_kombu.server.cancellation import Key, key_of
from asyncmcp_kombu.server.dispatch import dispatch
from asyncmcp_kombu.server.fan_out import fan_out
from asyncmcp_kombu.server.lowlevel import AnyServer, lowlevel_of
from asyncmcp_kombu.server.reception import Reception
from asyncmcp_kombu.server.replies import Replies
from asyncmcp_kombu.server.requests import ServedRequest, Settle
from asyncmcp_kombu.server.serving import Serving
from asyncmcp_kombu.server.sessions import Sessions
from asyncmcp_kombu.settings import Settings
from asyncmcp_kombu.topology import Topology


class Service:
    """Serves from `run` until that is cancelled."""

    def __init__(self, topology: Topology, settings: Settings, keys: list[bytes]) -> None:
        self._topology = topology
        self._sessions = Sessions(topology.server, keys)
        connect_now = connector(settings)
        self._reception = Reception(topology, settings, connect_now, self._sessions, self._take, self._cancel)
        self._publisher = self._reception.publisher
        self._back_channel = BackChannel(topology, connect_now, settings.max_message_bytes)
        self._running: dict[Key, anyio.CancelScope] = {}

    async def run(self, server: AnyServer, lifespan_state: Any, task_status: anyio.abc.TaskStatus[None]) -> None:
        lowlevel = lowlevel_of(server)
        try:
            with fan_out(server, lowlevel, self._publish_event) as fans_out:
                self._serving = Serving(
                    server=lowlevel,
                    lifespan_state=lifespan_state,
                    sessions=self._sessions,
                    back_channel=self._back_channel,
                    publish=self._publisher.publish,
                    fans_out=fans_out,
                )
                async with self._reception, anyio.create_task_group() as self._tasks:
                    task_status.started()
                    await self._reception.run()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._back_channel.close)

    def _take(self, envelope: Envelope, settle: Settle) -> None:
        if envelope.kind == "notification":
            self._tasks.start_soon(dispatch, self._serving, envelope, Replies(envelope, self._publisher.publish))
            settle(True)
        else:
            self._tasks.start_soon(self._serve, ServedRequest(envelope, self._publisher, settle))

    async def _serve(self, request: ServedRequest) -> None:
        done = False
        key = key_of(request.envelope)
        try:
            with anyio.CancelScope() as scope:
                if key is not None:
                    self._running[key] = scope
                try:
                    answer = await dispatch(self._serving, request.envelope, request.replies)
                finally:
                    if key is not None:
                        self._running.pop(key, None)
                await request.answer(answer)
            done = True  # answered, or cancelled by its caller, who then gets no answer
        finally:
            request.settle(done)

    def _cancel(self, key: Key) -> None:
        if key in self._running:
            self._running[key].cancel()

    def _publish_event(self, event: Envelope) -> Any:
        return self._publisher.publish_to(self._topology.events, event)
