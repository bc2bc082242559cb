"""Tools that show the range: quick, async with progress, CPU-bound, retried, nested models, slow, a task when slow."""

from __future__ import annotations

import math
import random
import time

import anyio
from mcp.server.mcpserver import Context
from pydantic import BaseModel, Field

from asyncmcp_kombu import mcp_task


@mcp_task
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@mcp_task(task="auto")  # in a task of its own when it takes longer than a second
async def countdown(ctx: Context, steps: int = 5, seconds: float = 1.0) -> str:
    """Take `seconds` in `steps` steps, and report progress after each."""
    for step in range(1, steps + 1):
        await anyio.sleep(seconds / steps)
        await ctx.report_progress(step, steps, f"step {step} of {steps}")
    return f"done after {steps} steps"


@mcp_task(time_limit=None)
def count_primes(below: int = 100_000) -> int:
    """Count the primes below a number: pure Python, one core."""
    sieve = bytearray([1]) * below
    sieve[:2] = bytes(min(2, below))
    for n in range(2, math.isqrt(below) + 1):
        if sieve[n]:
            sieve[n * n :: n] = bytes(len(range(n * n, below, n)))
    return sum(sieve)


class ServiceUnavailableError(Exception):
    """The service that `unreliable` asks did not answer."""


@mcp_task(autoretry_for=(ServiceUnavailableError,), max_retries=5, default_retry_delay=0.2)
def unreliable(failure_rate: float = 0.5) -> str:
    """Ask a service that often fails; Celery retries up to five times."""
    if random.random() < failure_rate:
        raise ServiceUnavailableError("the service did not answer")
    return "the service answered"


class Item(BaseModel):
    """One line of an order."""

    name: str
    price: float = Field(gt=0, description="price of one piece, in euro")
    quantity: int = Field(default=1, ge=1)


class Order(BaseModel):
    """What somebody wants to buy."""

    customer: str
    items: list[Item]


class Invoice(BaseModel):
    """What it costs."""

    customer: str
    lines: int
    total: float


@mcp_task(title="Price an order")
def price_order(order: Order, discount: float = 0.0) -> Invoice:
    """Add an order up, less a discount between 0 and 1."""
    total = sum(item.price * item.quantity for item in order.items) * (1 - discount)
    return Invoice(customer=order.customer, lines=len(order.items), total=round(total, 2))


@mcp_task
def slow(seconds: float = 5.0) -> str:
    """Block for a while, as a call to some old library would."""
    time.sleep(seconds)
    return f"slept {seconds} s"
