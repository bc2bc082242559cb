"""A tool call is a Celery task: with Celery's options, in Celery's log and events."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import anyio
import pytest
from celery import Celery
from celery.events import EventReceiver

from asyncmcp_kombu.broker import queues
from asyncmcp_kombu.broker.connection import transport_options, use_our_transports
from tests.fleet.conftest import SERVER, Fleet

pytestmark = pytest.mark.anyio


async def test_a_call_is_logged_by_its_tool_name_and_its_arguments_reach_celery(fleet: Fleet) -> None:
    async with fleet.client() as client:
        await client.call_tool("add", {"a": 12, "b": 30})
    fleet.worker.wait_for_log("received: args=() kwargs={'a': 12, 'b': 30}")
    (line,) = [line for line in fleet.worker.logs().splitlines() if "'a': 12, 'b': 30" in line]
    assert "Task add[" in line


async def test_listings_are_tasks_too_and_show_their_method(fleet: Fleet) -> None:
    async with fleet.client() as client:
        await client.list_tools()
    fleet.worker.wait_for_log("Task tools/list[")


@pytest.mark.parametrize("broker", ["rabbitmq", "redis"])
async def test_celery_events_show_name_and_arguments(fleets: Callable[..., Fleet], broker: str) -> None:
    fleet = fleets(broker)
    app = Celery(SERVER, broker=fleet.broker_url)
    received: dict[str, dict] = {}
    done, listening = threading.Event(), threading.Event()

    def on_event(event: dict) -> None:
        if event["type"] == "task-received" and "123456" in str(event.get("kwargs")):
            received[event["type"]] = event
        if event["type"] == "task-succeeded" and event["uuid"] in [e["uuid"] for e in received.values()]:
            received[event["type"]] = event
            done.set()

    class Receiver(EventReceiver):
        def on_consume_ready(self, *args: object, **kwargs: object) -> None:
            super().on_consume_ready(*args, **kwargs)
            listening.set()

    def listen() -> None:
        with app.connection() as connection:
            receiver.append(Receiver(connection, handlers={"*": on_event}, app=app))
            receiver[0].capture(limit=None, wakeup=False)

    receiver: list[Receiver] = []
    thread = threading.Thread(target=listen)
    thread.start()
    try:
        assert await anyio.to_thread.run_sync(listening.wait, 10)
        async with fleet.client() as client:
            await client.call_tool("add", {"a": 123456, "b": 1})
        assert await anyio.to_thread.run_sync(done.wait, 15)
    finally:
        receiver[0].should_stop = True
        await anyio.to_thread.run_sync(thread.join)
        app.close()
    assert received["task-received"]["name"] == "add"
    assert "'a': 123456" in received["task-received"]["kwargs"]


async def test_rate_limit_is_honoured(fleet: Fleet) -> None:
    async with fleet.client() as client:
        began = time.monotonic()
        async with anyio.create_task_group() as tasks:
            for n in range(4):
                tasks.start_soon(client.call_tool, "limited", {"n": n})
        took = time.monotonic() - began
    assert took > 1.0  # four at two a second: the first at once, the last after 1.5 s


async def test_a_tool_with_a_queue_runs_from_that_queue(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet("redis")
    fleet.start_worker(concurrency=1)
    fleet.start_worker(concurrency=1, Q=f"{fleet.prefix}gpu")
    async with fleet.client() as client:
        result = await client.call_tool("on_gpu", {})
    assert result.structured_content == {"result": f"{fleet.prefix}gpu"}
    gpu = fleet.workers[1].container
    assert "Task on_gpu[" in gpu.logs()
    assert "takes requests" not in gpu.logs()


@pytest.mark.parametrize("broker", ["sqs", "rabbitmq", "redis"])
async def test_delay_still_works_and_goes_to_the_jobs_queue(fleets: Callable[..., Fleet], broker: str) -> None:
    fleet = fleets(broker)
    before = fleet.worker.logs().count("Task echo_async[")
    app = Celery(SERVER, broker=fleet.broker_url)
    use_our_transports()
    app.conf.broker_transport_options = transport_options(fleet.broker_url, fleet.settings)
    app.conf.task_default_exchange = ""
    task_id = app.send_task("echo_async", kwargs={"text": "by delay"}, queue=queues.jobs_queue(fleet.topology)).id
    app.close()
    await anyio.to_thread.run_sync(fleet.worker.wait_for_log, f"Task echo_async[{task_id}] succeeded")
    assert fleet.worker.logs().count("Task echo_async[") > before
