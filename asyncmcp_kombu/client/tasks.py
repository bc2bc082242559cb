"""TasksExtension: the Tasks extension (SEP-2663) for `mcp.Client`, transparent or step by step.

tasks = TasksExtension()
async with Client(kombu_client(server="workers"), extensions=[tasks]) as client:
    result = await client.call_tool("render", {...})         # waits, however long it takes
    handle = await tasks.start(client, "render", {...})      # a handle whose id can be stored
    handle = tasks.resume(client, stored_id)                 # in another process, another day
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
from mcp.client import Client
from mcp.client.extension import ClaimContext, ClientExtension, NotificationBinding, ResultClaim
from mcp.client.session import ClientSession
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, InputRequiredResult

from asyncmcp_kombu.client.task_handle import TaskHandle, TaskUpdates
from asyncmcp_kombu.errors import TaskFailed
from asyncmcp_kombu.task_state import EXTENSION, STATUS_NOTIFICATION, CreateTaskResult, Task

OnStatus = Callable[[Task], Awaitable[None]]


class TasksExtension(ClientExtension):
    """Give one to `Client(..., extensions=[TasksExtension()])`; each client needs its own.

    Args:
        on_status: called with a task whenever its client hears of a change: pushed by the server, or polled.

    `client.call_tool` then returns the tool's result whether or not the server made a task of the call. It asks at
    the interval that the server suggests, sooner when the server pushes, and goes on asking while the fleet is
    restarted; what the task asks is answered by the client's own callbacks. Cancelling it cancels the task.
    """

    identifier = EXTENSION

    def __init__(self, on_status: OnStatus | None = None) -> None:
        self._updates = TaskUpdates(on_status)

    def settings(self) -> dict[str, Any]:
        return {"push": True}  # to a server of this package: tell the creator of a task without being asked

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return (ResultClaim(result_type="task", model=CreateTaskResult, resolve=self._resolve),)

    def notifications(self) -> Sequence[NotificationBinding[Any]]:
        return (NotificationBinding(method=STATUS_NOTIFICATION, params_type=Task, handler=self._updates.pushed),)

    async def start(self, client: Client, tool: str, arguments: dict[str, Any] | None = None) -> TaskHandle:
        """Call a tool, and return as soon as the server has made a task of it.

        Raises:
            TaskFailed: it has not: `result` is the tool's own, which came at once.
            MCPError: the call was refused.
        """
        answer = await client.session.call_tool(tool, arguments, allow_claimed=True, allow_input_required=True)
        while isinstance(answer, InputRequiredResult):  # what resolvers ask before there is a task
            responses = await self.handle(client.session, "").answers(answer.input_requests or {})
            answer = await client.session.call_tool(
                tool,
                arguments,
                input_responses=responses,
                request_state=answer.request_state,
                allow_claimed=True,
                allow_input_required=True,
            )
        if isinstance(answer, CreateTaskResult):
            return self.handle(client.session, answer.task_id)
        assert isinstance(answer, CallToolResult)
        raise TaskFailed(f"the server answered {tool!r} at once, without a task", result=answer)

    def resume(self, client: Client, task_id: str) -> TaskHandle:
        """The handle of a task that was started earlier, by this process or another one of the same caller."""
        return self.handle(client.session, task_id)

    def handle(self, session: ClientSession, task_id: str) -> TaskHandle:
        return TaskHandle(session, task_id, self._updates)

    async def _resolve(self, created: CreateTaskResult, context: ClaimContext) -> CallToolResult:
        handle = self.handle(context.session, created.task_id)
        timeout = math.inf if context.read_timeout_seconds is None else context.read_timeout_seconds
        try:
            with anyio.fail_after(timeout):
                return await handle.result(Task.model_validate(created.model_dump(by_alias=True)))
        except TaskFailed as failed:
            raise MCPError.from_error_data(failed.error_data()) from None
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(5, shield=True):
                await handle.cancel()
            raise
