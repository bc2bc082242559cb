"""Tools that answer from what is in the request."""

from __future__ import annotations

from typing import Annotated, Any

import anyio
from mcp.server.mcpserver import Audio, Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CallToolResult,
    EmbeddedResource,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)
from pydantic import BaseModel, Field

from tests.interaction.servers.media import ICON, PNG, WAV


class Point(BaseModel):
    x: int
    y: int


class Weather(BaseModel):
    """A structured answer."""

    city: str
    degrees: float
    where: Point


def register(server: MCPServer[Any]) -> None:
    @server.tool(
        title="Add",
        annotations=ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False),
        icons=[ICON],
        meta={"com.example/cost": 3},
    )
    def add(a: int, b: Annotated[int, Field(description="Second number", ge=0)]) -> int:
        """Add two numbers."""
        return a + b

    @server.tool()
    async def echo(text: str) -> str:
        """Say it again."""
        await anyio.lowlevel.checkpoint()
        return text

    @server.tool()
    def mirrors(data: dict[str, Any]) -> dict[str, Any]:
        """Any JSON, as it is."""
        return data

    @server.tool()
    def weather(city: str, at: Point) -> Weather:
        """A structured answer to a structured question."""
        return Weather(city=city, degrees=21.5, where=Point(x=-at.x, y=-at.y))

    @server.tool(structured_output=False)
    def all_kinds() -> list[Any]:
        """One of each kind of content."""
        text = TextResourceContents(uri="note://embedded", mime_type="text/plain", text="embedded")
        return [
            "text",
            Image(data=PNG, format="png"),
            Audio(data=WAV, format="wav"),
            ResourceLink(uri="note://static", name="static"),
            EmbeddedResource(resource=text),
        ]

    @server.tool()
    def refuses(reason: str) -> str:
        """Fail deliberately."""
        raise ToolError(reason)

    @server.tool()
    def crashes(secret: str) -> str:
        """Fail by mistake."""
        raise KeyError(secret)

    @server.tool()
    def protocol_error(code: int, message: str) -> str:
        """Answer with a JSON-RPC error."""
        raise MCPError(code=code, message=message, data={"why": ["weekend", 1, None]})

    @server.tool()
    def needs_sampling(ctx: Context) -> str:
        """Refuse a client that cannot sample."""
        if ctx.client_capabilities is None or ctx.client_capabilities.sampling is None:
            raise MCPError(
                MISSING_REQUIRED_CLIENT_CAPABILITY, "sampling is needed", {"requiredCapabilities": {"sampling": {}}}
            )
        return "the client can sample"

    @server.tool()
    def large(size: int) -> str:
        """Answer with that many characters."""
        return "x" * size

    _register_reflections(server)


def _register_reflections(server: MCPServer[Any]) -> None:
    @server.tool()
    def whoami(ctx: Context) -> dict[str, Any]:
        """Who asks, as the server knows it."""
        params = ctx.session.client_params
        capabilities = ctx.client_capabilities
        return {
            "name": params and params.client_info.name,
            "version": params and params.client_info.version,
            "capabilities": capabilities and capabilities.model_dump(by_alias=True, exclude_none=True),
            "protocol": ctx.protocol_version,
        }

    @server.tool()
    def process(ctx: Context) -> dict[str, int]:
        """Which process answers, and how often the server's lifespan was entered there."""
        state = ctx.request_context.lifespan_context
        return {"pid": state.pid, "entered": state.entered}

    @server.tool()
    def reflects_meta(ctx: Context) -> CallToolResult:
        """The request's `_meta` as the server saw it, and the same keys in the answer's own."""
        meta = dict(ctx.request_context.meta or {})
        own = {key: value for key, value in meta.items() if not key.startswith("io.modelcontextprotocol/")}
        return CallToolResult(content=[TextContent(text="see _meta")], structured_content={"meta": meta}, _meta=own)
