"""Listings: the far side's tools, remembered briefly for the check of `Mcp-Param-*` headers.

Before each `tools/call` over HTTP the SDK asks its server for `tools/list`, to compare the headers with the tool's
schema. Forwarded each time, that would double the latency of every call. What is remembered is never older than what
a client with the same capabilities has last been told through this bridge, nor than 30 s, and is dropped when the
far side says that its tools have changed.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
from mcp_types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, PROTOCOL_VERSION_META_KEY

FRESH_FOR = 30.0
_REFRESHED_WITHIN = 5.0
"""Seconds for which others use what is stale while one caller asks anew."""
_MOST = 64
_WHO_ASKS = (PROTOCOL_VERSION_META_KEY, CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY)


@dataclass(slots=True)
class _Page:
    result: dict[str, Any]
    fresh_until: float


class Listings:
    """Pages of `tools/list`, by cursor and by who asks: a server may show different clients different tools."""

    def __init__(self) -> None:
        self._pages: OrderedDict[str, _Page] = OrderedDict()

    async def get(
        self, params: Mapping[str, Any] | None, ask: Callable[[], Awaitable[dict[str, Any]]]
    ) -> dict[str, Any]:
        """The page from memory, or what `ask` returns. Raises what `ask` raises."""
        page = self._pages.get(_key(params))
        now = anyio.current_time()
        if page is not None and now < page.fresh_until:
            return page.result
        if page is not None:
            page.fresh_until = now + _REFRESHED_WITHIN
        result = await ask()
        self.remember(params, result)
        return result

    def remember(self, params: Mapping[str, Any] | None, result: dict[str, Any]) -> None:
        """The far side has answered with this page."""
        key = _key(params)
        self._pages[key] = _Page(result, anyio.current_time() + FRESH_FOR)
        self._pages.move_to_end(key)
        if len(self._pages) > _MOST:
            self._pages.popitem(last=False)

    def clear(self) -> None:
        self._pages.clear()


def _key(params: Mapping[str, Any] | None) -> str:
    given = params or {}
    meta = given.get("_meta")
    who = [meta.get(name) for name in _WHO_ASKS] if isinstance(meta, Mapping) else []
    return json.dumps([given.get("cursor"), who], sort_keys=True)
