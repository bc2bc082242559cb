"""Tools of the handshake era: they send the client a request and wait for its answer."""

from __future__ import annotations

from typing import Any

from mcp.server.elicitation import AcceptedElicitation
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ModelHint,
    ModelPreferences,
    SamplingMessage,
    TextContent,
)
from pydantic import BaseModel, Field


class Booking(BaseModel):
    """What the user is asked for."""

    name: str
    seats: int = Field(default=2, ge=1)


def register(server: MCPServer[Any]) -> None:
    @server.tool()
    async def books(ctx: Context, occasion: str) -> dict[str, Any]:
        """Ask the user, in a form."""
        answer = await ctx.elicit(f"A table for {occasion}?", Booking)
        data = answer.data.model_dump() if isinstance(answer, AcceptedElicitation) else None
        return {"action": answer.action, "data": data}

    @server.tool()
    async def sends_away(ctx: Context) -> str:
        """Ask the user to visit a page, and tell when that is done."""
        answer = await ctx.elicit_url("Please log in", "https://example.com/login", "e1")
        await ctx.session.send_elicit_complete("e1", ctx.request_id)
        return answer.action

    @server.tool()
    async def samples(ctx: Context, text: str) -> dict[str, Any]:
        """Ask the client's model."""
        answer = await ctx.session.create_message(
            [SamplingMessage(role="user", content=TextContent(text=text))],
            max_tokens=50,
            system_prompt="Be brief.",
            temperature=0.5,
            model_preferences=ModelPreferences(hints=[ModelHint(name="small")]),
            related_request_id=ctx.request_id,
        )
        assert isinstance(answer.content, TextContent)
        return {"text": answer.content.text, "model": answer.model, "stop": answer.stop_reason}

    @server.tool()
    async def watches(ctx: Context) -> list[float]:
        """Ask the client's model, and watch its progress."""
        seen: list[float] = []

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            seen.append(progress)

        message = SamplingMessage(role="user", content=TextContent(text="think"))
        await ctx.session.send_request(
            CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=1)),
            CreateMessageResult,
            metadata=ServerMessageMetadata(related_request_id=ctx.request_id),
            progress_callback=on_progress,
        )
        return seen

    @server.tool()
    async def impatient(ctx: Context) -> str:
        """Ask the client's model, and give up after a moment."""
        message = SamplingMessage(role="user", content=TextContent(text="think"))
        request = CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=1))
        try:
            await ctx.session.send_request(request, CreateMessageResult, request_read_timeout_seconds=0.5)
        except MCPError as error:
            return f"gave up: {error.error.code}"
        return "answered"

    @server.tool()
    async def lists_roots(ctx: Context) -> list[str]:
        """Ask for the client's roots."""
        return [f"{root.name} {root.uri}" for root in (await ctx.session.list_roots()).roots]

    @server.tool()
    async def pings(ctx: Context) -> str:
        """Ask whether the client is there."""
        await ctx.session.send_ping()
        return "the client answered"

    @server.tool()
    async def converses(ctx: Context, turns: int) -> list[str]:
        """Ask several times, and report progress between."""
        answers: list[str] = []
        for turn in range(turns):
            answer = await ctx.elicit(f"turn {turn}", Booking)
            answers.append(answer.data.name if isinstance(answer, AcceptedElicitation) else answer.action)
            await ctx.report_progress(turn + 1, turns)
        return answers
