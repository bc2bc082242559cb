"""Tools, a prompt and a resource of 2026-07-28 that need input: they say what, and are called again with it."""

from __future__ import annotations

import os
from typing import Any, Final

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    TextContent,
)

SCHEMA: Final = {"type": "object", "properties": {"value": {"type": "string"}}, "required": ["value"]}


def form(message: str) -> ElicitRequest:
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=SCHEMA))


def value(answer: object) -> str:
    """What the user filled in; else what he did instead."""
    assert isinstance(answer, ElicitResult)
    return str((answer.content or {}).get("value", answer.action))


def sample(text: str) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(text=text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=10))


def register(server: MCPServer[Any]) -> None:
    @server.tool(structured_output=False)
    def asks_one(ctx: Context, greeting: str) -> str | InputRequiredResult:
        """Ask for a name."""
        if ctx.input_responses is None:
            return InputRequiredResult(input_requests={"name": form("Who are you?")})
        return f"{greeting} {value(ctx.input_responses['name'])}"

    @server.tool(structured_output=False)
    def asks_three(ctx: Context) -> str | InputRequiredResult:
        """Ask user, model and roots at once."""
        answers = ctx.input_responses or {}
        name, said, roots = answers.get("name"), answers.get("said"), answers.get("roots")
        if isinstance(said, CreateMessageResult) and isinstance(roots, ListRootsResult):
            text = said.content.text if isinstance(said.content, TextContent) else "?"
            return f"{value(name)}, {text}, {roots.roots[0].uri}"
        return InputRequiredResult(
            input_requests={"name": form("Who are you?"), "said": sample("Say hi"), "roots": ListRootsRequest()}
        )

    @server.tool(structured_output=False)
    def asks_twice(ctx: Context) -> str | InputRequiredResult:
        """Ask for a name, then for a colour; what is known, and who asked, travels in the state."""
        answers, here = ctx.input_responses or {}, str(os.getpid())
        if "colour" in answers and ctx.request_state is not None:
            return f"{ctx.request_state} {value(answers['colour'])} {here}"
        if "name" in answers and ctx.request_state is not None:
            state = f"{ctx.request_state} {value(answers['name'])}"
            return InputRequiredResult(input_requests={"colour": form("Which colour?")}, request_state=state)
        return InputRequiredResult(input_requests={"name": form("Who are you?")}, request_state=here)

    @server.tool(structured_output=False)
    def comes_back(ctx: Context) -> str | InputRequiredResult:
        """Ask for nothing but to be called again."""
        return (
            InputRequiredResult(request_state="later") if ctx.request_state is None else f"now is {ctx.request_state}"
        )

    @server.prompt()
    def tailored(ctx: Context) -> str | InputRequiredResult:
        """A prompt that asks first."""
        if ctx.input_responses is None:
            return InputRequiredResult(input_requests={"topic": form("About what?")})
        return f"Tell me about {value(ctx.input_responses['topic'])}"

    @server.resource("locked://{name}")
    def locked(name: str, ctx: Context) -> str | InputRequiredResult:
        """A resource that asks first."""
        if ctx.input_responses is None:
            return InputRequiredResult(input_requests={"key": form("The key?")})
        return f"{name} opened with {value(ctx.input_responses['key'])}"
