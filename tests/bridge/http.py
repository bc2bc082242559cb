"""An HTTP bridge in this process, and a client that sends what a test wants and shows what came, in order."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
from mcp_types import CLIENT_CAPABILITIES_META_KEY, PROTOCOL_VERSION_META_KEY
from pydantic import SecretStr

from asyncmcp_kombu import Settings
from asyncmcp_kombu.bridge.forward import Bridge
from asyncmcp_kombu.bridge.hosts import protection
from asyncmcp_kombu.bridge.http import bridge_app, listen, serve_http

MODERN = "2026-07-28"
SOON = 30
"""Seconds within which everything happens, on a machine that does much else."""
ENDING = 10
"""Seconds that tell an end, which takes one on an idle machine, from a wait for something."""


@asynccontextmanager
async def http_bridge(
    settings: Settings,
    *,
    timeout: float = 60.0,
    token: str | None = None,
    origins: tuple[str, ...] = (),
    stop: anyio.Event | None = None,
    bridge: Bridge | None = None,
) -> AsyncGenerator[str]:
    """The URL of a bridge that runs in this process."""
    sock = listen("127.0.0.1", 0)
    port = sock.getsockname()[1]
    app = bridge_app(
        bridge or Bridge(settings, timeout),
        security=protection("127.0.0.1", port, origins=origins),
        token=None if token is None else SecretStr(token),
        cors_origins=origins,
        retry_interval=50,
    )
    stop, ready = stop or anyio.Event(), anyio.Event()
    with sock:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve_http, app, sock, stop, ready.set)
            with anyio.fail_after(SOON):
                await ready.wait()
            yield f"http://127.0.0.1:{port}/mcp"
            stop.set()


def request(method: str, params: dict[str, Any] | None = None, *, id: Any = 1, **meta: Any) -> dict[str, Any]:
    """A 2026-07-28 request as JSON."""
    envelope = {PROTOCOL_VERSION_META_KEY: MODERN, CLIENT_CAPABILITIES_META_KEY: {}, **meta}
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": {**(params or {}), "_meta": envelope}}


def headers(message: dict[str, Any], **more: str) -> dict[str, str]:
    """What the specification wants to be said in headers, too."""
    params = message.get("params") or {}
    name = params.get("name") or params.get("uri")
    return {
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": message["method"],
        **({"Mcp-Name": name} if name else {}),
        **more,
    }


async def send(client: httpx2.AsyncClient, url: str, message: dict[str, Any], **more: str) -> list[dict[str, Any]]:
    """Everything that comes back for a message, in the order in which it came; the response is the last."""
    response = await client.post(url, json=message, headers=headers(message, **more))
    if response.headers["content-type"].startswith("text/event-stream"):
        return [json.loads(line[5:]) for line in response.text.splitlines() if line.startswith("data:")]
    return [response.json()]


@asynccontextmanager
async def browserless() -> AsyncGenerator[httpx2.AsyncClient]:
    """A plain HTTP client."""
    async with httpx2.AsyncClient(timeout=SOON) as client:
        yield client
