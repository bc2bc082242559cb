"""Tools that send notifications, and tools that wait to be cancelled."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import LoggingLevel


def register(server: MCPServer[Any]) -> None:
    @server.tool()
    async def progress(ctx: Context, steps: int) -> str:
        """Report progress, with a total and a message."""
        for step in range(1, steps + 1):
            await ctx.report_progress(step, steps, f"step {step}")
        return "done"

    @server.tool()
    def sync_progress(ctx: Context, steps: int) -> str:
        """Report progress from a function that is not async, without a total."""
        for step in range(1, steps + 1):
            anyio.from_thread.run(ctx.report_progress, step / 2)
        return "done"

    @server.tool()
    async def logs(ctx: Context, levels: list[LoggingLevel], text: str) -> str:
        """Send a log line of each level."""
        for level in levels:
            await ctx.log(level, {"text": text, "level": level}, logger_name="interaction")
        return "logged"

    @server.tool()
    async def publishes(ctx: Context, what: list[str]) -> str:
        """Tell whoever listens: `tools`, `prompts`, `resources`, or the URI of a resource."""
        lists = {
            "tools": ctx.notify_tools_changed,
            "prompts": ctx.notify_prompts_changed,
            "resources": ctx.notify_resources_changed,
        }
        for one in what:
            await (lists[one]() if one in lists else ctx.notify_resource_updated(one))
        return "told"

    @server.tool()
    async def tells_caller(ctx: Context) -> str:
        """Tell the caller that the lists have changed, as before 2026-07-28."""
        await ctx.session.send_tool_list_changed()
        await ctx.session.send_prompt_list_changed()
        await ctx.session.send_resource_list_changed()
        await ctx.session.send_resource_updated("note://static")
        return "told"

    @server.tool()
    async def tells_caller_later(ctx: Context) -> str:
        """Answer, and tell the caller something when no request of its is under way."""

        async def later() -> None:
            await anyio.sleep(0.05)
            await ctx.session.send_tool_list_changed()

        ctx.request_context.lifespan_context.tasks.start_soon(later)
        return "later"

    @server.tool()
    async def waits(ctx: Context, mark: str) -> str:
        """Wait to be cancelled; tell when waiting, and leave a mark when cancelled."""
        try:  # the caller may hear of the progress, and cancel, before the broker says that it has it
            await ctx.report_progress(1)
            await anyio.sleep(60)
        except anyio.get_cancelled_exc_class():
            Path(mark).write_text("cancelled")
            raise
        return "never"

    @server.tool()
    def sync_waits(ctx: Context, mark: str) -> str:
        """The same in a function that is not async, which looks every now and then."""
        try:
            anyio.from_thread.run(ctx.report_progress, 1)
            for _ in range(1200):
                anyio.from_thread.check_cancelled()
                time.sleep(0.05)
        except BaseException:
            Path(mark).write_text("cancelled")
            raise
        return "never"
