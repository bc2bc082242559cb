"""The embedded endpoint, with real engines in real processes: what a newcomer sees, and what remains."""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.config import Config

from asyncmcp_kombu.local import ENGINES, LocalEngine, LocalEngineError, fauxqs
from tests.services import quick

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="process groups")

FAUXQS_FETCHED = all(path.exists() for path in fauxqs.paths(fauxqs.home()))
ENGINE_NAMES = [
    "ministack",
    "moto",
    pytest.param("fauxqs", marks=pytest.mark.skipif(not FAUXQS_FETCHED, reason="not fetched (230 MB)")),
]


def client(engine: LocalEngine, service: str = "sqs") -> Any:
    return boto3.client(
        service,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
        endpoint_url=engine.endpoint_url,
        config=Config(retries={"total_max_attempts": 1}),
    )


def group_of(pid: int) -> list[int]:
    found: list[int] = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == pid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def ministack() -> Iterator[LocalEngine]:
    with LocalEngine("ministack", port=0) as engine:
        yield engine


# --- it starts, answers and goes ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ENGINE_NAMES)
def test_answers_sqs_and_sns_on_loopback_only_and_leaves_nothing(name: str):
    engine = LocalEngine(name, port=0)
    with engine:
        assert engine.broker_url == f"sqs://local:local@127.0.0.1:{engine.port}"
        sqs, sns = client(engine), client(engine, "sns")
        queue = sqs.create_queue(QueueName="q")["QueueUrl"]
        about_queue = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        queue_arn = about_queue["Attributes"]["QueueArn"]
        topic = sns.create_topic(Name="t")["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn, Attributes={"RawMessageDelivery": "true"})
        attributes = {"MessageType": {"DataType": "String", "StringValue": "jsonrpc"}}
        sns.publish(TopicArn=topic, Message="published", MessageAttributes=attributes)
        received = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5, MessageAttributeNames=[".*"])
        (message,) = received["Messages"]
        assert message["Body"] == "published"
        assert message["MessageAttributes"]["MessageType"]["StringValue"] == "jsonrpc"

        pid = engine.pid
        assert pid is not None
        sockets = psutil.Process(pid).net_connections()
        assert {s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN} == {"127.0.0.1"}

    assert group_of(pid) == []
    assert engine.pid is None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", engine.port))
    engine.stop()  # twice is fine


def test_starts_again_after_stop():
    engine = LocalEngine(port=free_port())
    for _ in range(2):
        with engine:
            client(engine).list_queues()


def test_stops_at_once_under_an_open_long_poll():
    with LocalEngine(port=0) as engine:
        sqs = client(engine)
        queue = sqs.create_queue(QueueName="q")["QueueUrl"]
        poll = long_poll(engine, queue)
        client(engine).list_queues()  # answered after the poll has begun
        began = time.monotonic()
        engine.stop()
        assert time.monotonic() - began < quick(2)
        poll.close()


def test_keeps_messages_in_its_data_directory(tmp_path: Path):
    with LocalEngine(port=0, data_dir=tmp_path / "kept") as engine:
        sqs = client(engine)
        sqs.send_message(QueueUrl=sqs.create_queue(QueueName="q")["QueueUrl"], MessageBody="still here")
    with LocalEngine(port=0, data_dir=tmp_path / "kept") as engine:
        sqs = client(engine)
        queue = sqs.get_queue_url(QueueName="q")["QueueUrl"]
        assert sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"][0]["Body"] == "still here"


@pytest.mark.parametrize("name", [one for one in ENGINE_NAMES if one != "moto"])
def test_keeps_a_message_that_was_received_and_given_back(name: str, tmp_path: Path):
    with LocalEngine(name, port=0, data_dir=tmp_path) as engine:
        sqs = client(engine)
        queue = sqs.create_queue(QueueName="q")["QueueUrl"]
        sqs.send_message(QueueUrl=queue, MessageBody="given back")
        for _ in range(2):
            (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
            sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    with LocalEngine(name, port=0, data_dir=tmp_path) as engine:
        sqs = client(engine)
        queue = sqs.get_queue_url(QueueName="q")["QueueUrl"]
        (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
        assert message["Body"] == "given back"


def test_ends_when_its_parent_is_killed():
    script = (
        "import sys; from asyncmcp_kombu.local import LocalEngine\n"
        "engine = LocalEngine(port=0); engine.start(); print(engine.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout and parent.stdin
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    _, alive = psutil.wait_procs([child], timeout=5)
    for process in alive:
        process.kill()
    assert alive == []


# --- ministack, as we serve it -------------------------------------------------------------------------


def long_poll(engine: LocalEngine, queue: str) -> socket.socket:
    body = json.dumps({"QueueUrl": queue, "WaitTimeSeconds": 20, "VisibilityTimeout": 30}).encode()
    connection = socket.create_connection(("127.0.0.1", engine.port))
    connection.sendall(
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-amz-json-1.0\r\n"
        b"X-Amz-Target: AmazonSQS.ReceiveMessage\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    return connection


def test_a_poll_whose_client_is_gone_swallows_no_message(ministack: LocalEngine):
    sqs = client(ministack)
    queue = sqs.create_queue(QueueName="orphans")["QueueUrl"]
    for _ in range(20):
        poll = long_poll(ministack, queue)
        sqs.list_queues()
        poll.close()
    sqs.list_queues()
    # Delayed, so that an orphan would see the message before the receiver that comes after it.
    sqs.send_message(QueueUrl=queue, MessageBody="for the living", DelaySeconds=1)
    received = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5).get("Messages", [])
    assert [message["Body"] for message in received] == ["for the living"]


def test_a_waiting_poll_gets_its_message_soon(ministack: LocalEngine):
    sqs, receiver = client(ministack), client(ministack)
    queue = sqs.create_queue(QueueName="soon")["QueueUrl"]
    arrived: list[float] = []

    def receive() -> None:
        for message in receiver.receive_message(QueueUrl=queue, WaitTimeSeconds=5).get("Messages", []):
            arrived.append(time.monotonic() - float(message["Body"]))

    for index in range(11):
        waiting = threading.Thread(target=receive)
        waiting.start()
        waiting.join(0.05 + index * 0.009)  # it must be waiting, at each phase of a step of 100 ms
        sqs.send_message(QueueUrl=queue, MessageBody=str(time.monotonic()))
        waiting.join(10)
    assert len(arrived) == 11
    assert statistics.median(arrived) < 0.035, arrived  # as published, ministack: 0.055


# --- errors that teach ---------------------------------------------------------------------------------


def test_unknown_engine_names_the_choices():
    with pytest.raises(LocalEngineError, match=r"unknown engine 'localstack'.*ministack, moto, fauxqs"):
        LocalEngine("localstack")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.10", "example.org", "::"])
def test_only_loopback(host: str):
    with pytest.raises(LocalEngineError, match="loopback only"):
        LocalEngine(host=host)


def test_port_taken_by_something_else():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(LocalEngineError, match=rf"127\.0\.0\.1:{port}.*Stop what listens.*another port"):
            LocalEngine(port=port).start()


def test_port_taken_by_another_endpoint(ministack: LocalEngine):
    with pytest.raises(LocalEngineError, match="An SQS endpoint already answers there"):
        LocalEngine(port=ministack.port).start()


def test_started_twice(ministack: LocalEngine):
    with pytest.raises(LocalEngineError, match="already started"):
        ministack.start()


def test_missing_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalEngineError, match=r"fetched with npm, and there is no npm.*nodejs\.org"):
        LocalEngine("fauxqs", port=0).start()


def test_failing_npm_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'ENOTFOUND registry.npmjs.org' >&2\nexit 7\n")
    npm.chmod(0o755)
    cache = tmp_path / "cache"
    monkeypatch.setattr(fauxqs, "home", lambda: cache / "fauxqs")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    said: list[str] = []
    with pytest.raises(LocalEngineError, match=r"(?s)exit code 7.*ENOTFOUND"):
        LocalEngine("fauxqs", port=0, say=said.append).start()
    assert "Fetching fauxqs" in said[0]
    assert list(cache.iterdir()) == []


def test_engine_not_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # pyright: ignore[reportUnknownLambdaType]
    for name in ("ministack", "moto"):
        with pytest.raises(LocalEngineError, match=rf"-m pip install '{name}"):
            LocalEngine(name, port=0).start()


def test_moto_keeps_nothing(tmp_path: Path):
    assert not ENGINES["moto"].keeps_messages
    with pytest.raises(LocalEngineError, match="cannot keep messages"):
        LocalEngine("moto", data_dir=tmp_path)


def broken_ministack(where: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (where / "ministack").mkdir()
    (where / "ministack" / "__init__.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(where))


def test_a_child_that_dies_at_its_start_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    broken_ministack(tmp_path, "import sys; sys.exit('no engine today')", monkeypatch)
    engine = LocalEngine(port=0)
    with pytest.raises(LocalEngineError, match=r"(?s)ministack ended with code 1 .*no engine today"):
        engine.start()
    assert engine.pid is None


def test_a_child_that_never_answers_is_reported_and_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pid_file = tmp_path / "pid"
    code = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    broken_ministack(tmp_path, code, monkeypatch)
    with pytest.raises(LocalEngineError, match=r"did not answer on .* within 1 s"):
        LocalEngine(port=0, start_timeout=1).start()
    assert group_of(int(pid_file.read_text())) == []


# --- in the foreground of a terminal -------------------------------------------------------------------


@pytest.fixture
def in_foreground() -> Iterator[subprocess.Popen[str]]:
    script = (
        "import sys; from asyncmcp_kombu.local import LocalEngine, run_until_stopped\n"
        "sys.exit(run_until_stopped(LocalEngine(port=0), lambda text: print(text, flush=True)))"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def engine_process(foreground: subprocess.Popen[str]) -> psutil.Process:
    """The engine's process, once the foreground has said all about how to use it."""
    assert foreground.stdout
    lines: list[str] = []
    while not lines or "Ctrl+C" not in lines[-1]:
        lines.append(foreground.stdout.readline())
        assert lines[-1], lines
    text = "".join(lines)
    assert "export ASYNCMCP_BROKER_URL=sqs://local:local@127.0.0.1:" in text
    assert "celery -A workers worker" in text
    (child,) = psutil.Process(foreground.pid).children()
    return child


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_foreground_ends_cleanly_on_a_signal(in_foreground: subprocess.Popen[str], number: signal.Signals):
    child = engine_process(in_foreground)
    in_foreground.send_signal(number)
    assert in_foreground.wait(5) == 0
    assert not child.is_running()


def test_foreground_reports_the_death_of_the_engine(in_foreground: subprocess.Popen[str]):
    engine_process(in_foreground).kill()
    assert in_foreground.wait(5) == 1
    assert in_foreground.stdout
    assert "ministack died (exit code -9)" in in_foreground.stdout.read()
