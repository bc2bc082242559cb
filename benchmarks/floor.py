"""The floor: a request and a reply over SQS with nothing but boto3.

`server` receives, sends back what it got, and deletes. `client` speaks the protocol of `benchmarks.caller`: one call
at a time with both long polls already waiting, or many in batches of ten, several requests under way.
"""

from __future__ import annotations

import argparse
import json
import queue
import sys
import threading
import time
from typing import Any

import boto3
from botocore.config import Config

from benchmarks.caller import summary

_THREADS = 4
Queue = queue.SimpleQueue[Any]


def client_of(port: int) -> Any:
    return boto3.client(
        "sqs",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="bench",
        aws_secret_access_key="bench",
        config=Config(max_pool_connections=32, retries={"total_max_attempts": 1}),
    )


def sending(sqs: Any, url: str, bodies: Queue) -> None:
    """Send what is handed over, up to ten at a time."""
    while True:
        batch = [bodies.get()]
        while len(batch) < 10 and not bodies.empty():
            batch.append(bodies.get())
        entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(batch)]
        if len(entries) == 1:
            sqs.send_message(QueueUrl=url, MessageBody=batch[0])
        else:
            sqs.send_message_batch(QueueUrl=url, Entries=entries)


def deleting(sqs: Any, url: str, handles: Queue) -> None:
    while True:
        batch = [handles.get()]
        while len(batch) < 10 and not handles.empty():
            batch.append(handles.get())
        entries = [{"Id": str(n), "ReceiptHandle": handle} for n, handle in enumerate(batch)]
        sqs.delete_message_batch(QueueUrl=url, Entries=entries)


def receiving(sqs: Any, url: str, arrived: Any, handles: Queue) -> None:
    while True:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=20)
        for message in answer.get("Messages", ()):
            arrived(message["Body"])
            handles.put(message["ReceiptHandle"])


def start(sqs: Any, read: str, write: str, arrived: Any) -> Queue:
    """The threads of one side; what is put into the queue that is returned is sent."""
    bodies: Queue = queue.SimpleQueue()
    handles: Queue = queue.SimpleQueue()
    sides = [(receiving, (read, arrived, handles)), (sending, (write, bodies)), (deleting, (read, handles))]
    for target, arguments in sides:
        for _ in range(_THREADS if target is receiving else 1):
            threading.Thread(target=target, args=(sqs, *arguments), daemon=True).start()
    return bodies


def queues_of(sqs: Any) -> tuple[str, str]:
    requests, replies = (sqs.create_queue(QueueName=f"floor-{name}")["QueueUrl"] for name in ("requests", "replies"))
    return requests, replies


def serve(port: int) -> None:
    sqs = client_of(port)
    requests, replies = queues_of(sqs)
    bodies = start(sqs, requests, replies, lambda body: bodies.put(body))  # noqa: PLW0108  (it is made by this call)
    print("serving", flush=True)
    threading.Event().wait()


def call(port: int, loads: list[str]) -> None:
    sqs = client_of(port)
    requests, replies = queues_of(sqs)
    began: dict[str, float] = {}
    times: list[float] = []
    free = threading.Semaphore(0)

    def arrived(body: str) -> None:
        times.append((time.perf_counter() - began.pop(json.loads(body)["id"])) * 1_000)
        free.release()

    bodies = start(sqs, replies, requests, arrived)

    def run(in_flight: int, count: int) -> dict[str, Any]:
        times.clear()
        cpu, start_at = time.process_time(), time.perf_counter()
        for n in range(count):
            if n >= in_flight:
                free.acquire()
            began[str(n)] = time.perf_counter()
            bodies.put(json.dumps({"jsonrpc": "2.0", "id": str(n), "method": "echo", "params": {"text": f"text {n}"}}))
        for _ in range(min(in_flight, count)):
            free.acquire()
        took = time.perf_counter() - start_at
        return summary(list(times), [], took, (time.process_time() - cpu) / count * 1_000)

    for load in loads:
        in_flight, count = map(int, load.split("x"))
        run(in_flight, 2 * in_flight + 2)
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(run(in_flight, count)), flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("role", choices=["server", "client"])
    arguments.add_argument("port", type=int)
    arguments.add_argument("loads", nargs="*")
    chosen = arguments.parse_args()
    if chosen.role == "server":
        serve(chosen.port)
    else:
        call(chosen.port, chosen.loads)
