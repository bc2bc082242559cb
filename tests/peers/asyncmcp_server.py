"""Run with the peer's interpreter: asyncmcp's own server, that is its session manager, until it is ended.

Arguments: `sqs`, request queue; or `sns`, request queue.
"""

import sys

import anyio
import boto3
from asyncmcp.sns_sqs.manager import SnsSqsSessionManager
from asyncmcp.sns_sqs.utils import SnsSqsServerConfig
from asyncmcp.sqs.manager import SqsSessionManager
from asyncmcp.sqs.utils import SqsServerConfig
from mcp.server.fastmcp import Context, FastMCP
from pydantic import BaseModel

FAST = {"wait_time_seconds": 1, "poll_interval_seconds": 0.01}
server = FastMCP("peer")


class Name(BaseModel):
    name: str


@server.tool()
async def echo(text: str) -> str:
    return text


@server.tool()
async def slowly(text: str, ctx: Context) -> str:
    await ctx.report_progress(1, 2)
    return text


@server.tool()
async def asks(ctx: Context) -> str:
    answer = await ctx.elicit("who?", Name)
    return answer.data.name


async def main(kind, url):
    app, sqs = server._mcp_server, boto3.client("sqs")
    if kind == "sqs":
        manager = SqsSessionManager(app, SqsServerConfig(read_queue_url=url, **FAST), sqs)
    else:
        manager = SnsSqsSessionManager(app, SnsSqsServerConfig(sqs_queue_url=url, **FAST), sqs, boto3.client("sns"))
    async with manager.run():
        print("ready", flush=True)
        await anyio.sleep_forever()


anyio.run(main, *sys.argv[1:])
