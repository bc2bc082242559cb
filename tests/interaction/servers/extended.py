"""Middleware, and an extension with a method of its own and a result of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolRequestParams, RequestParams

EXTENSION: Final = "com.example/interaction"
SETTINGS: Final = {"level": 3, "tags": ["a", "b"]}
METHOD: Final = "com.example/shout"
TICKET: Final = "com.example/ticket"
"""The extension's own `resultType`."""


class ShoutParams(RequestParams):
    text: str
    times: int = 1


class Interaction(Extension):
    identifier = EXTENSION

    def settings(self) -> dict[str, Any]:
        return dict(SETTINGS)

    def methods(self) -> Sequence[MethodBinding]:
        return [MethodBinding(METHOD, ShoutParams, self.shout)]

    async def shout(self, ctx: ServerRequestContext[Any, Any], params: ShoutParams) -> HandlerResult:
        return {"said": params.text.upper() * params.times}

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Hand a ticket to a client that knows what that is, and call the tool for every other."""
        capabilities = ctx.session.client_capabilities
        known = capabilities is not None and EXTENSION in (capabilities.extensions or {})
        if params.name == "echo" and known and (params.arguments or {}).get("text") == "ticket, please":
            return {"resultType": TICKET, "number": 7}
        return await call_next(ctx)


async def gatekeeper(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Refuse one tool, and call another by its alias."""
    name = (ctx.params or {}).get("name")
    if ctx.method == "tools/call" and name == "forbidden":
        raise MCPError(code=-40001, message="not for you", data={"tool": name})
    if ctx.method == "tools/call" and name == "alias":
        return await call_next(replace(ctx, params={**(ctx.params or {}), "name": "echo"}))
    return await call_next(ctx)
