"""A low-level server of the SDK for these tests, and a process that serves it by queue URL."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

import anyio
import boto3
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

from asyncmcp_kombu import SnsSqsServerConfig, SqsServerConfig
from asyncmcp_kombu.server.lowlevel import lowlevel_of
from asyncmcp_kombu.sns_sqs import sns_sqs_server
from asyncmcp_kombu.sqs import sqs_server


class Name(BaseModel):
    name: str


def notes() -> Any:
    """The low-level server with its tools."""
    server = MCPServer("notes")

    @server.tool()
    async def echo(text: str) -> str:
        """Say it again."""
        return text

    @server.tool()
    async def slowly(text: str, seconds: float, ctx: Context) -> str:
        """Say it in a while, with progress."""
        await ctx.report_progress(1, 2, text)
        await anyio.sleep(seconds)
        await ctx.report_progress(2, 2, text)
        return text

    @server.tool()
    async def asks(ctx: Context) -> str:
        """Ask who it is."""
        answer = await ctx.elicit("who?", Name)
        return str(answer.data)

    @server.tool()
    async def process() -> int:
        """Which process answers."""
        return os.getpid()

    return lowlevel_of(server)


async def serve_sqs(url: str, lease: str = "30") -> None:
    app, config = notes(), SqsServerConfig(read_queue_url=url, visibility_timeout_seconds=int(lease))
    async with sqs_server(config, boto3.client("sqs")) as (read, write):
        print("ready", flush=True)
        await app.run(read, write, app.create_initialization_options())


async def serve_sns(url: str, topic: str) -> None:
    app, config = notes(), SnsSqsServerConfig(sqs_queue_url=url, sns_topic_arn=topic or None)
    async with sns_sqs_server(config, boto3.client("sqs"), boto3.client("sns")) as (read, write):
        print("ready", flush=True)
        await app.run(read, write, app.create_initialization_options())


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        anyio.run({"sqs": serve_sqs, "sns": serve_sns}[sys.argv[1]], *sys.argv[2:])
