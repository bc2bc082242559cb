"""Push: `notifications/tasks` to the creator of a task, and to who sent `subscriptions/listen` with its id."""

from __future__ import annotations

from typing import Any

from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY

from asyncmcp_kombu.broker.publisher import Publisher
from asyncmcp_kombu.envelope import compose
from asyncmcp_kombu.task_state import STATUS_NOTIFICATION
from asyncmcp_kombu.tasks.record import TaskRecord
from asyncmcp_kombu.topology import queue_name_of


def push(record: TaskRecord, listeners: list[dict[str, Any]], publisher: Publisher) -> None:
    """Send the task as it is now to all listeners. One that is gone is no error, and all may still poll."""
    creator = {"client_id": record.header.get("client_id"), "reply_to": record.header.get("reply_to")}
    if record.pushes and creator["client_id"] not in {one["client_id"] for one in listeners}:
        listeners = [*listeners, creator]
    for listener in listeners:
        push_to(listener, record, publisher)


def push_to(listener: dict[str, Any], record: TaskRecord, publisher: Publisher) -> None:
    """Send the task as it is now to one listener."""
    if not listener["reply_to"]:
        return
    params = record.task.on_the_wire()
    if "subscription_id" in listener:
        params["_meta"] = {SUBSCRIPTION_ID_META_KEY: listener["subscription_id"]}
    message = {"jsonrpc": "2.0", "method": STATUS_NOTIFICATION, "params": params}
    publisher.publish(queue_name_of(listener["reply_to"]), compose(message, client_id=listener["client_id"]))
