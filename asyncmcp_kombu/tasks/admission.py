"""Admission: a call becomes a task, at once or when its inline budget is used up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
from mcp.server.context import HandlerResult, ServerRequestContext
from mcp_types import SERVER_INFO_META_KEY
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from asyncmcp_kombu.tasks.caller import in_thread, seen_now
from asyncmcp_kombu.tasks.job import JobOutlet, said_of
from asyncmcp_kombu.tasks.record import TaskRecord
from asyncmcp_kombu.tasks.runtime import TaskRuntime
from asyncmcp_kombu.tasks.token import token_result
from asyncmcp_kombu.worker.execution import Admitted, Call
from asyncmcp_kombu.worker.process import process_of
from asyncmcp_kombu.worker.tool import McpTask

Run = Callable[[], Awaitable[HandlerResult]]


async def admit(runtime: TaskRuntime, tool: McpTask, call: Call, run: Run) -> HandlerResult:
    """The handle of a new task whose work is in a queue; or what the SDK says before the tool is entered.

    That is: arguments that do not fit, and the questions of resolvers, which are asked on the call itself.
    """
    call.admitting = True
    try:
        return await run()
    except Admitted:
        record = runtime.new_record(tool, call.request)
        return handle(await in_thread(partial(runtime.create, record, again=call.again)))


async def admit_in_place(
    runtime: TaskRuntime, tool: McpTask, call: Call, ctx: ServerRequestContext[Any, Any], run: Run
) -> HandlerResult:
    """As `admit`, but the tool runs here. Its caller gets the handle when the tool's body is entered.

    The message is acknowledged when the tool has ended: if this process dies, the call is delivered again, and is the
    same task.
    """
    known = await in_thread(partial(_of_before, runtime, tool, call)) if call.again else None
    if known is not None and known.task.status != "working":
        return _in_place_of_a_result(runtime, known, tool, ctx, declared=True)

    call.on_entering = partial(_become, runtime, tool, call, ctx, declared=True)
    return await run()


async def within_budget(
    runtime: TaskRuntime, tool: McpTask, call: Call, ctx: ServerRequestContext[Any, Any], run: Run, *, declared: bool
) -> HandlerResult:
    """The tool's own result if it comes within the budget; else the caller gets a handle (or a token) meanwhile.

    The tool goes on where it is. Its message is acknowledged when it has ended: if this process dies, the call is
    delivered again, and is the same task.
    """
    settings = runtime.settings
    if not declared and settings.task_fallback == "wait":
        return await run()
    budget = settings.task_inline_budget if declared else settings.task_wait_budget
    if call.again and (known := await in_thread(partial(_of_before, runtime, tool, call))) is not None:
        if known.task.status != "working":
            return _in_place_of_a_result(runtime, known, tool, ctx, declared=declared)
        budget = 0.0
    outcome: list[HandlerResult] = []
    failure: list[Exception] = []
    ended = anyio.Event()

    async def body() -> None:
        try:
            outcome.append(await run())
        except Exception as error:
            failure.append(error)
        finally:
            ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(body)
        with anyio.move_on_after(budget):
            await ended.wait()
        if not ended.is_set():
            await _become(runtime, tool, call, ctx, declared=declared)
    if failure:
        raise failure[0]
    return outcome[0]


async def _become(
    runtime: TaskRuntime, tool: McpTask, call: Call, ctx: ServerRequestContext[Any, Any], *, declared: bool
) -> None:
    """Store the call as a task and answer its caller; its tool goes on where it is."""
    new = runtime.new_record(tool, call.request)
    if call.progress is not None:
        new = new.with_status("working", status_message=said_of(call.progress))
    record = await in_thread(partial(runtime.stored, new, again=call.again))
    answer = _in_place_of_a_result(runtime, record, tool, ctx, declared=declared)
    await call.become(answer, JobOutlet(record, runtime.keep_soon))


def _of_before(runtime: TaskRuntime, tool: McpTask, call: Call) -> TaskRecord | None:
    """The task that the call became when it was delivered before."""
    record = runtime.store.read(runtime.new_record(tool, call.request).task.task_id)
    return None if record is None else seen_now(runtime, record)


def _in_place_of_a_result(
    runtime: TaskRuntime, record: TaskRecord, tool: McpTask, ctx: ServerRequestContext[Any, Any], *, declared: bool
) -> dict[str, Any]:
    answer = handle(record) if declared else token_result(record, tool)
    if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        return answer
    server_info = process_of(runtime.app).served.lowlevel.server_info_stamp
    return {"resultType": "complete", **answer, "_meta": {SERVER_INFO_META_KEY: server_info}}


def handle(record: TaskRecord) -> dict[str, Any]:
    """What `tools/call` answers for a task."""
    return {**record.task.on_the_wire(detailed=False), "resultType": "task"}
