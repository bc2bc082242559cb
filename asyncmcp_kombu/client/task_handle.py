"""TaskHandle: one task of a server, from the client's side."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, TypeVar

import anyio
from mcp.client.context import ClientRequestContext
from mcp.client.session import ClientSession
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, EmptyResult, InputRequest, Request, RequestParams
from mcp_types.jsonrpc import REQUEST_TIMEOUT, ErrorData
from pydantic import ConfigDict, TypeAdapter
from pydantic.alias_generators import to_camel

from asyncmcp_kombu.errors import BrokerError, TaskFailed, WorkerLost
from asyncmcp_kombu.task_state import Task

_PATIENCE = 30.0
"""Seconds for which one look at a task waits for an answer; then it looks again."""
_DEFAULT_POLL = 1.0
_MOST_PATIENT = 16
"""Poll intervals between two looks at a task of which a server that pushes has told nothing for a while."""
_REMEMBERED = 1_024
T = TypeVar("T")
_input_request: TypeAdapter[InputRequest] = TypeAdapter(InputRequest)


class _TaskParams(RequestParams):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    task_id: str


class _UpdateParams(_TaskParams):
    input_responses: dict[str, Any]


class _Get(Request[_TaskParams, Literal["tasks/get"]]):
    method: Literal["tasks/get"] = "tasks/get"
    params: _TaskParams
    name_param = "taskId"


class _Cancel(Request[_TaskParams, Literal["tasks/cancel"]]):
    method: Literal["tasks/cancel"] = "tasks/cancel"
    params: _TaskParams
    name_param = "taskId"


class _Update(Request[_UpdateParams, Literal["tasks/update"]]):
    method: Literal["tasks/update"] = "tasks/update"
    params: _UpdateParams
    name_param = "taskId"


class _Waiter:
    def __init__(self, newest: Task | None) -> None:
        self._newest, self._event = newest, anyio.Event()

    def hear(self, task: Task) -> None:
        self._newest = task
        self._event.set()

    async def next(self, seconds: float) -> Task | None:
        """The newest push since the last call, waiting for so long; None when there was none."""
        if self._newest is None:
            with anyio.move_on_after(seconds):
                await self._event.wait()
        newest, self._newest, self._event = self._newest, None, anyio.Event()
        return newest


class TaskUpdates:
    """What the server pushes, for those who wait. Used in one event loop."""

    def __init__(self, on_status: Callable[[Task], Awaitable[None]] | None = None) -> None:
        self._on_status = on_status
        self._waiters: dict[str, list[_Waiter]] = {}
        self._early: OrderedDict[str, Task] = OrderedDict()
        self.server_pushes = False
        """Known from the first push on."""

    async def pushed(self, task: Task) -> None:
        self.server_pushes = True
        await self.seen(task)
        waiters = self._waiters.get(task.task_id, [])
        for waiter in waiters:
            waiter.hear(task)
        if not waiters:  # it may have overtaken the handle
            self._early[task.task_id] = task
            if len(self._early) > _REMEMBERED:
                self._early.popitem(last=False)

    async def seen(self, task: Task) -> None:
        if self._on_status is not None:
            await self._on_status(task)

    @contextmanager
    def waiting(self, task_id: str) -> Generator[_Waiter]:
        """While entered, what is pushed of the task is heard; what came before is the first."""
        waiter = _Waiter(self._early.pop(task_id, None))
        waiters = self._waiters.setdefault(task_id, [])
        waiters.append(waiter)
        try:
            yield waiter
        finally:
            waiters.remove(waiter)
            if not waiters:
                self._waiters.pop(task_id, None)


class TaskHandle:
    """A task: look at it, wait for it, answer it, cancel it. `task_id` is all that is needed to come back to it."""

    def __init__(self, session: ClientSession, task_id: str, updates: TaskUpdates) -> None:
        self._session, self.task_id, self._updates = session, task_id, updates
        self._answered: set[str] = set()

    async def status(self) -> Task:
        """The task as it is now.

        Raises:
            MCPError: -32602, there is no such task (any more), or it is somebody else's.
        """
        request = _Get(params=_TaskParams(task_id=self.task_id))
        task = await self._session.send_request(request, Task, _PATIENCE)
        await self._updates.seen(task)
        return task

    async def result(self, known: Task | None = None, *, answer: bool = True) -> CallToolResult:
        """Wait until the task has ended, and return what the tool answered.

        What the task asks meanwhile is answered by the callbacks of the client. The wait has no bound of its own
        (`anyio.fail_after`); cancelling it leaves the task alone.

        Args:
            known: the task, where the server has just told of it.
            answer: False leaves what the task asks to somebody else, and waits for that.

        Raises:
            TaskFailed: it failed or was cancelled; `task` says why.
            MCPError: there is no such task (any more).
        """
        with self._updates.waiting(self.task_id) as waiter:
            task, looks = known or await self._patiently(self.status), 0
            while not task.ended:
                if answer and task.status == "input_required":
                    await self._answer(task)
                pause = _DEFAULT_POLL if task.poll_interval_ms is None else task.poll_interval_ms / 1_000
                if self._updates.server_pushes:  # it tells; to look is for what got lost
                    pause *= min(2**looks, _MOST_PATIENT)
                pushed = await waiter.next(pause)
                looks = looks + 1 if pushed is None else 0
                task = pushed or await self._patiently(self.status)
        if task.status != "completed" or task.result is None:
            raise TaskFailed(task.status_message or f"the task was {task.status}", task=task)
        return CallToolResult.model_validate(task.result)

    async def update(self, responses: Mapping[str, Any]) -> None:
        """Answer questions of the task, all or some, by the keys of its `input_requests`."""
        data = {
            key: response.model_dump(by_alias=True, mode="json", exclude_none=True)
            if hasattr(response, "model_dump")
            else response
            for key, response in responses.items()
        }
        request = _Update(params=_UpdateParams(task_id=self.task_id, input_responses=data))
        await self._session.send_request(request, EmptyResult, _PATIENCE)

    async def cancel(self) -> None:
        """Ask the server to stop the task. It may end otherwise if it was done already."""
        await self._session.send_request(_Cancel(params=_TaskParams(task_id=self.task_id)), EmptyResult, _PATIENCE)

    async def answers(self, requests: Mapping[str, Any]) -> dict[str, Any]:
        """What the client's callbacks say to the questions.

        Raises:
            MCPError: a callback declines.
        """
        responses: dict[str, Any] = {}
        for key, raw in requests.items():
            request = _input_request.validate_python(raw) if isinstance(raw, dict) else raw
            meta = request.params.meta if request.params else None
            context = ClientRequestContext(session=self._session, request_id=key, meta=meta)
            response = await self._session.dispatch_input_request(context, request)
            if isinstance(response, ErrorData):
                raise MCPError.from_error_data(response)
            responses[key] = response
        return responses

    async def _answer(self, task: Task) -> None:
        new = {key: one for key, one in (task.input_requests or {}).items() if key not in self._answered}
        if new:
            responses = await self.answers(new)
            await self._patiently(partial(self.update, responses))
            self._answered.update(responses)

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask again while a fleet is being restarted, a worker dies, or the broker is away."""
        while True:
            try:
                return await ask()
            except MCPError as error:
                if error.error.code not in (REQUEST_TIMEOUT, WorkerLost.code):
                    raise
            except BrokerError:
                await anyio.sleep(_DEFAULT_POLL)
