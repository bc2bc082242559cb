"""A response that breaks off is an error wherever it breaks off; boto3 takes it for an answer without content."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from asyncmcp_kombu.broker.sqs_whole import only_whole_responses

QUEUE = "http://127.0.0.1/000000000000/q"
BODY = b'{"QueueUrl": "http://127.0.0.1/000000000000/q", "MessageId": "1", "Successful": [], "Failed": []}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: %d\r\nServer: it\r\n\r\n" % len(
    BODY
)
CALLS: dict[str, Callable[[Any], Any]] = {
    "GetQueueUrl": lambda client: client.get_queue_url(QueueName="q"),
    "SendMessage": lambda client: client.send_message(QueueUrl=QUEUE, MessageBody="x"),
    "ReceiveMessage": lambda client: client.receive_message(QueueUrl=QUEUE),
    "SendMessageBatch": lambda client: client.send_message_batch(
        QueueUrl=QUEUE, Entries=[{"Id": "0", "MessageBody": "x"}]
    ),
}


class Server:
    """Answers every request with `response`, and closes the connection."""

    def __init__(self) -> None:
        self.response = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                while b"}" not in connection.recv(65_536):
                    continue
                connection.sendall(self.response)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def client(server: Server) -> Any:
    return boto3.client(
        "sqs",
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        endpoint_url=f"http://127.0.0.1:{server.port}",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=5),
    )


@pytest.mark.parametrize("operation", CALLS)
def test_a_response_that_breaks_off_anywhere_is_an_error(server: Server, client: Any, operation: str):
    only_whole_responses(client)
    whole = HEAD + BODY
    for length in range(0, len(whole), 3):
        server.response = whole[:length]
        with pytest.raises(BotoCoreError):
            CALLS[operation](client)
    server.response = whole
    assert CALLS[operation](client)["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_boto3_itself_takes_one_for_an_answer_without_content(server: Server, client: Any):
    server.response = HEAD + BODY[:10]
    answer = CALLS["GetQueueUrl"](client)
    assert "QueueUrl" not in answer, "boto3 notices by itself: broker/sqs_whole.py may go"


def test_an_answer_in_chunks_is_whole(server: Server, client: Any):
    only_whole_responses(client)
    head = HEAD.replace(b"Content-Length: %d" % len(BODY), b"Transfer-Encoding: chunked")
    server.response = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    assert CALLS["GetQueueUrl"](client)["QueueUrl"] == QUEUE
    server.response = server.response[:-20]
    with pytest.raises(BotoCoreError):
        CALLS["GetQueueUrl"](client)


def test_an_answer_without_its_length_is_whole_when_it_can_be_read(server: Server, client: Any):
    only_whole_responses(client)
    head = HEAD.replace(b"Content-Length: %d\r\n" % len(BODY), b"")
    server.response = head + BODY
    assert CALLS["GetQueueUrl"](client)["QueueUrl"] == QUEUE
    server.response = head + BODY[:-1]
    with pytest.raises(BotoCoreError):
        CALLS["GetQueueUrl"](client)


def test_an_answer_without_content_is_whole(server: Server, client: Any):
    only_whole_responses(client)
    server.response = HEAD.replace(b"Content-Length: %d" % len(BODY), b"Content-Length: 0")
    client.delete_queue(QueueUrl=QUEUE)
