"""Listings: when the far side is asked again."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from mcp_types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY

from asyncmcp_kombu.bridge import listings
from asyncmcp_kombu.bridge.listings import Listings

pytestmark = pytest.mark.anyio


class Far:
    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self) -> dict[str, Any]:
        self.asked += 1
        await anyio.lowlevel.checkpoint()
        return {"tools": [], "n": self.asked}


def of(capabilities: dict[str, Any], cursor: str | None = None, more: dict[str, Any] | None = None) -> dict[str, Any]:
    meta = {CLIENT_CAPABILITIES_META_KEY: capabilities, **(more or {})}
    return {"_meta": meta} if cursor is None else {"_meta": meta, "cursor": cursor}


async def test_a_page_is_asked_for_once_per_kind_of_client() -> None:
    pages, far = Listings(), Far()
    for params in (of({}), of({}, more={"progressToken": 1}), of({}, more={"traceparent": "00-1"})):
        assert (await pages.get(params, far))["n"] == 1
    assert (await pages.get(of({"roots": {}}), far))["n"] == 2
    assert (await pages.get(of({}, more={CLIENT_INFO_META_KEY: {"name": "x"}}), far))["n"] == 3
    assert (await pages.get(of({}, "next"), far))["n"] == 4
    assert (await pages.get(None, far))["n"] == 5
    assert (await pages.get(of({}), far))["n"] == 1


async def test_what_a_client_was_told_replaces_what_was_remembered() -> None:
    pages, far = Listings(), Far()
    await pages.get(of({}), far)
    pages.remember(of({}), {"told": True})
    assert await pages.get(of({}), far) == {"told": True}


async def test_after_a_change_and_after_a_while_the_far_side_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pages, far = Listings(), Far()
    await pages.get(of({}), far)
    pages.clear()
    assert (await pages.get(of({}), far))["n"] == 2
    monkeypatch.setattr(listings, "FRESH_FOR", -1.0)
    pages.remember(of({}), {"stale": True})
    async with anyio.create_task_group() as tasks:  # many at once: one asks, the others use what is there
        for _ in range(10):
            tasks.start_soon(pages.get, of({}), far)
    assert far.asked == 3


async def test_a_failure_is_raised_and_not_remembered() -> None:
    pages, far = Listings(), Far()

    async def fails() -> dict[str, Any]:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await pages.get(of({}), fails)
    assert (await pages.get(of({}), far))["n"] == 1


async def test_the_number_of_pages_is_bounded() -> None:
    pages, far = Listings(), Far()
    for n in range(500):
        await pages.get(of({}, str(n)), far)
    assert (await pages.get(of({}, "499"), far))["n"] == 500
    assert (await pages.get(of({}, "0"), far))["n"] == 501
