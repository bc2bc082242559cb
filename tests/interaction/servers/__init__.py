"""The servers that the tests talk to: an `MCPServer` and a low-level `Server`, as their authors would write them.

They know nothing of queues, brokers and Celery. A process that serves makes its own.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer

ServerName = Literal["testfleet", "echo"]

MCPSERVER: Final = "testfleet"
LOWLEVEL: Final = "echo"
SERVERS: Final[tuple[ServerName, ...]] = (MCPSERVER, LOWLEVEL)


def make_server(name: str) -> MCPServer[Any] | Server[Any]:
    """A new server object."""
    from tests.interaction.servers import high, low

    return high.make() if name == MCPSERVER else low.make()
