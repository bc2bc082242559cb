"""The deadline of the request that is being sent: when its caller stops waiting.

The SDK keeps a request's timeout in a context variable while the request is written.

Private names of mcp 2.3 used here: `mcp.shared._request_clock._clock` and `RequestClock._budget`.
tests/client/test_deadline.py fails when they go.
"""

from __future__ import annotations

import math
import time

from mcp.shared import _request_clock


def current_deadline() -> float | None:
    """Epoch seconds at which the caller of the current request gives up, or None when it waits for ever."""
    clock = _request_clock._clock.get()  # pyright: ignore[reportPrivateUsage]
    if clock is None:
        return None
    budget = clock._budget  # pyright: ignore[reportPrivateUsage]
    return time.time() + budget if math.isfinite(budget) else None
