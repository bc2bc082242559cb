"""Headers of the Tasks extension's methods: the task's id is in `Mcp-Name`, or the request goes nowhere."""

from __future__ import annotations

import pytest
from mcp_types.jsonrpc import HEADER_MISMATCH, METHOD_NOT_FOUND

from asyncmcp_kombu import Settings
from tests.bridge.far import served
from tests.bridge.http import browserless, headers, http_bridge, request

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_a_task_id_in_the_body_must_be_in_the_header(settings: Settings, method: str) -> None:
    message = request(method, {"taskId": "täsk 1"})
    async with served(settings) as far, http_bridge(settings) as url, browserless() as client:
        for more in ({}, {"Mcp-Name": "another"}):
            refused = await client.post(url, json=message, headers=headers(message, **more))
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, HEADER_MISMATCH)
            assert not far.seen[method]
        encoded = {"Mcp-Name": "=?base64?dMOkc2sgMQ==?="}
        forwarded = await client.post(url, json=message, headers=headers(message, **encoded))
        assert forwarded.json()["error"]["code"] == METHOD_NOT_FOUND  # the far server knows no tasks
