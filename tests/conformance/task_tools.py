"""Tools that may become tasks, as the suite's `tasks-*` scenarios ask for them. Celery tools, so the fleet's alone."""

from __future__ import annotations

from typing import Annotated, Final

import anyio
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult
from mcp_types.jsonrpc import INTERNAL_ERROR
from pydantic import BaseModel

from asyncmcp_kombu import mcp_task

NAMES: Final = (
    "confirm_delete",
    "failing_job",
    "greet",
    "multi_input",
    "protocol_error_job",
    "slow_compute",
    "test_tool_with_task",
)
"""In the order in which the fleet lists them."""


@mcp_task(structured_output=False)
def greet(name: str) -> str:
    """Greet at once; never a task."""
    return f"Hello, {name}!"


@mcp_task(task="optional", structured_output=False)
async def slow_compute(seconds: float, label: str = "") -> str:
    """Sleep, then answer; a task for whoever knows tasks."""
    await anyio.sleep(seconds)
    return f"computed {label} in {seconds:g} s"


@mcp_task(task="required", structured_output=False)
async def failing_job() -> str:
    """Fail as a tool does, after a second."""
    await anyio.sleep(1)
    raise ToolError("the job failed, as it always does")


@mcp_task(task="required", structured_output=False)
async def protocol_error_job() -> str:
    """Fail with a JSON-RPC error."""
    raise MCPError(INTERNAL_ERROR, "the job broke the protocol, as it always does")


@mcp_task(task="required", structured_output=False)
def confirm_delete(ctx: Context, filename: str) -> str | InputRequiredResult:
    """Ask while the task runs, then go on."""
    answer = (ctx.input_responses or {}).get("confirm")
    if not isinstance(answer, ElicitResult):
        return InputRequiredResult(input_requests={"confirm": _form(f"Delete {filename}?", "confirm", "boolean")})
    sure = answer.action == "accept" and (answer.content or {}).get("confirm")
    return f"deleted {filename}" if sure else f"kept {filename}"


@mcp_task(task="required", structured_output=False)
def multi_input(ctx: Context) -> str | InputRequiredResult:
    """Ask two things at once while the task runs."""
    answers = ctx.input_responses
    if answers is None:
        first, second = _form("What is the name?", "name"), _form("Are you sure?", "confirm", "boolean")
        return InputRequiredResult(input_requests={"name": first, "confirm": second})
    return f"got {', '.join(sorted(answers))}"


class UserName(BaseModel):
    """What is asked before the task is made."""

    name: str


def user_name() -> Elicit[UserName]:
    """The SDK's resolver: it asks on the call itself."""
    return Elicit("What is your name?", UserName)


@mcp_task(task="required", structured_output=False)
def test_tool_with_task(user: Annotated[UserName, Resolve(user_name)]) -> str:
    """Ask on the call itself, then become a task."""
    return f"Hello, {user.name}!"


def _form(message: str, field: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))
