"""The fleet that is measured: tools that do nothing, so that the road is what takes time."""

from __future__ import annotations

import os

import anyio
from celery import Celery

from asyncmcp_kombu import mcp_task, serve_mcp

app = Celery("bench", result_backend=os.environ.get("BENCH_RESULT_BACKEND"))
serve_mcp(app)


@mcp_task
def echo(text: str) -> str:
    """Say it again."""
    return text


@mcp_task
async def echo_async(text: str) -> str:
    """Say it again."""
    return text


@mcp_task
async def nap(seconds: float) -> float:
    """Sleep without blocking."""
    await anyio.sleep(seconds)
    return seconds


@mcp_task(task="required")
def echo_task(text: str) -> str:
    """Say it again, in a task."""
    return text


@mcp_task(task="required")
async def echo_task_async(text: str) -> str:
    """Say it again, in a task."""
    return text
