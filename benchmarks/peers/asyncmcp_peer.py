"""asyncmcp 0.2.1 on the same queue, in its own environment: `server PORT`, or the client of `benchmarks.caller`.

Its poll interval is set to 10 ms ("tuned"); with its default of 5 s an idle poll would cost that much.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import Any

import anyio
import boto3
from asyncmcp.sqs.client import sqs_client
from asyncmcp.sqs.manager import SqsSessionManager
from asyncmcp.sqs.utils import SqsClientConfig, SqsServerConfig
from botocore.config import Config
from mcp import ClientSession
from mcp.server.lowlevel import Server
from mcp.types import TextContent, Tool

from benchmarks.caller import parser, run_loads

_TUNED: dict[str, Any] = {"poll_interval_seconds": 0.01, "wait_time_seconds": 20}


def client_of(port: int) -> Any:
    return boto3.client(
        "sqs",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="bench",
        aws_secret_access_key="bench",
        config=Config(max_pool_connections=32),
    )


async def serve(port: int) -> None:
    sqs = client_of(port)
    url = sqs.create_queue(QueueName="asyncmcp-requests")["QueueUrl"]
    server: Any = Server("bench")

    @server.list_tools()
    async def list_tools() -> list[Tool]:
        return [Tool(name="echo", inputSchema={"type": "object", "properties": {"text": {"type": "string"}}})]

    @server.call_tool()
    async def call_tool(name: str, arguments: dict[str, Any]) -> list[TextContent]:
        return [TextContent(type="text", text=arguments["text"])]

    async with SqsSessionManager(server, SqsServerConfig(read_queue_url=url, **_TUNED), sqs).run():
        print("serving", flush=True)
        await anyio.sleep_forever()


async def call(arguments: argparse.Namespace) -> None:
    sqs = client_of(int(arguments.url))
    requests, replies = (
        sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("asyncmcp-requests", "asyncmcp-replies")
    )
    config = SqsClientConfig(read_queue_url=requests, response_queue_url=replies, **_TUNED)
    async with sqs_client(config, sqs) as (read, write), ClientSession(read, write) as session:
        await session.initialize()

        async def echo(text: str) -> str:
            result = await session.call_tool("echo", {"text": text})
            return str(getattr(result.content[0], "text", None))

        await run_loads(echo, arguments)
        sys.stdout.flush()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        if sys.argv[1] == "server":
            anyio.run(serve, int(sys.argv[2]))
        else:
            anyio.run(call, parser().parse_args())
