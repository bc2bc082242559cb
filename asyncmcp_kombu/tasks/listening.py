"""Listening to tasks: `subscriptions/listen` with `taskIds`, beside what the SDK's own handler serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any

import anyio
from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.server.mcpserver.server import require_client_extension
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp_types import (
    SubscriptionFilter,
    SubscriptionsAcknowledgedNotification,
    SubscriptionsAcknowledgedNotificationParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
)

from asyncmcp_kombu.task_state import EXTENSION
from asyncmcp_kombu.tasks import caller
from asyncmcp_kombu.tasks.push import push_to
from asyncmcp_kombu.tasks.record import TaskRecord
from asyncmcp_kombu.tasks.runtime import TaskRuntime
from asyncmcp_kombu.worker.execution import current_call
from asyncmcp_kombu.worker.process import process_of

Context = ServerRequestContext[Any, Any]
Handler = Callable[[Context, Any], Awaitable[HandlerResult]]

_OWN = frozenset({"tools_list_changed", "prompts_list_changed", "resources_list_changed", "resource_subscriptions"})


def listen(runtime: TaskRuntime, listen_to_changes: Handler) -> Handler:
    """The SDK's handler, and for a filter with `taskIds` ours, which acknowledges them too.

    Its acknowledgement is all that a subscription needs: changes come from the fan-out exchange, and tasks are
    pushed by whoever changes them.
    """

    @wraps(listen_to_changes, updated=())  # by which fan_out.py finds it
    async def handler(ctx: Context, params: SubscriptionsListenRequestParams) -> HandlerResult:
        wanted: Any = (params.notifications.model_extra or {}).get("taskIds")
        if not wanted:
            return await listen_to_changes(ctx, params)
        require_client_extension(ctx, EXTENSION)
        call = current_call.get()
        assert call is not None
        listener = {
            "client_id": call.request.client_id,
            "reply_to": call.request.reply_to,
            "subscription_id": ctx.request_id,
        }
        records = [record for task_id in wanted if (record := await _known(runtime, task_id)) is not None]
        for record in records:
            await caller.in_thread(partial(runtime.store.listen, record, listener))
        honored = {name: value for name, value in params.notifications if name in _OWN and value}
        honored["taskIds"] = [record.task.task_id for record in records]
        meta: dict[str, Any] = {SUBSCRIPTION_ID_META_KEY: ctx.request_id}
        acknowledged = SubscriptionsAcknowledgedNotificationParams(
            notifications=SubscriptionFilter.model_validate(honored), _meta=meta
        )
        # Whoever dispatches this ends it when the acknowledgement is sent; what has changed by then follows it.
        with anyio.CancelScope(shield=True):
            await ctx.session.send_notification(
                SubscriptionsAcknowledgedNotification(params=acknowledged), related_request_id=ctx.request_id
            )
            for record in records:
                now = await caller.seen(runtime, await caller.known(runtime, record.task.task_id, "retrieve"))
                push_to(listener, now, process_of(runtime.app).publisher)
        return SubscriptionsListenResult(_meta=meta)

    return handler


async def _known(runtime: TaskRuntime, task_id: Any) -> TaskRecord | None:
    try:
        return await caller.known(runtime, str(task_id), "listen to")
    except MCPError:
        return None
