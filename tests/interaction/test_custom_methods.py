"""Methods and notifications of a server's own, which no specification knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import mcp_types as types
import pytest
from mcp import MCPError

from tests.interaction.connect import Connect, until
from tests.interaction.servers import LOWLEVEL
from tests.interaction.servers.low import SumParams
from tests.interaction.spec import requirement, runs_on

pytestmark = pytest.mark.anyio


class SumRequest(types.Request[SumParams, Literal["com.example/sum"]]):
    method: Literal["com.example/sum"] = "com.example/sum"
    params: SumParams


class SumResult(types.Result):
    sum: int
    asked: str


class UnknownRequest(types.Request[dict[str, Any], str]):
    method: str = "com.example/unknown"
    params: dict[str, Any] = {}  # noqa: RUF012


@requirement("sdk", "Server.add_request_handler serves a method of one's own.")
async def test_a_method_of_ones_own_is_called_and_reports_progress(connect: Connect) -> None:
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async with connect(LOWLEVEL) as client:
        request = SumRequest(params=SumParams(numbers=[1, 2, 39]))
        result = await client.session.send_request(request, SumResult, progress_callback=on_progress)
    assert (result.sum, result.asked) == (42, "com.example/sum")
    assert seen == [1.0]


@requirement("sdk", "Params are validated against the type that was registered: -32602.")
async def test_params_of_a_method_of_ones_own_are_validated(connect: Connect) -> None:
    request = types.Request[dict[str, Any], str](method="com.example/sum", params={"numbers": "many"})
    async with connect(LOWLEVEL) as client:
        with pytest.raises(MCPError) as caught:
            await client.session.send_request(request, types.EmptyResult)
    assert caught.value.error.code == types.INVALID_PARAMS


@requirement("2026-07-28/basic/index#error-codes", "MCP uses the standard JSON-RPC codes: -32601, method not found.")
@pytest.mark.parametrize("method", ["com.example/unknown", "tools/unknown"])
async def test_an_unknown_method_is_not_found(connect: Connect, method: str) -> None:
    async with connect(LOWLEVEL) as client:
        with pytest.raises(MCPError) as caught:
            await client.session.send_request(UnknownRequest(method=method), types.EmptyResult)
    assert (caught.value.error.code, caught.value.error.data) == (types.METHOD_NOT_FOUND, method)


@requirement("2026-07-28/basic/index#notifications", "A one-way message; the receiver MUST NOT send a response.")
@runs_on("the SDK's own transport of 2026-07-28 carries no notifications to servers", hosts=("single", "fleet"))
async def test_a_notification_of_ones_own_reaches_its_handler(connect: Connect, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    notification: Any = types.Notification[dict[str, Any], str](
        method="notifications/com.example/mark", params={"path": str(mark)}
    )
    async with connect(LOWLEVEL) as client:
        await client.session.send_notification(notification)
        assert await until(mark) == f"marked {client.protocol_version}"
