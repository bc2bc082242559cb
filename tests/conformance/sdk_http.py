"""The reference: the SDK's own Streamable HTTP server. Run as `python -m tests.conformance.sdk_http PORT`."""

from __future__ import annotations

import sys
from typing import Final

from tests.conformance.event_store import MemoryEventStore
from tests.conformance.server import make_server

RETRY_MS: Final = 100
"""How soon a client whose stream was closed on purpose is told to come back."""


def main() -> None:
    # Bound to loopback, the SDK checks Host and Origin by itself (DNS rebinding).
    make_server().run(
        "streamable-http",
        host="127.0.0.1",
        port=int(sys.argv[1]),
        event_store=MemoryEventStore(),
        retry_interval=RETRY_MS,
    )


if __name__ == "__main__":
    main()
