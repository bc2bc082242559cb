"""Long polls that can be interrupted, so that closing does not wait for them.

boto3 has no way to abandon a request that is under way: a 20 s long poll holds up closing for 20 s. Here the
sockets of one client are remembered, and shutting them down makes the poll return at once with an error.

Private name used: `client._endpoint.http_session._manager`, botocore's urllib3 pool manager (botocore 1.4x).
tests/broker/test_sqs_http.py fails when it goes.
"""

from __future__ import annotations

import contextlib
import socket
import weakref
from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)


class InterruptibleRequests:
    """Remembers the connections of one boto3 client from now on; create it before the first request."""

    def __init__(self, client: Any) -> None:
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        client._endpoint.http_session._manager.pool_classes_by_scheme = {
            "http": _remembering(AWSHTTPConnectionPool, AWSHTTPConnection, self._connections),
            "https": _remembering(AWSHTTPSConnectionPool, AWSHTTPSConnection, self._connections),
        }

    def interrupt(self) -> None:
        """Make every request of the client that is under way fail at once. Any thread may call this."""
        for connection in list(self._connections):
            sock = connection.sock
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


def _remembering(pool: type[Any], connection: type[Any], seen: weakref.WeakSet[Any]) -> type[Any]:
    class RememberedConnection(connection):
        def connect(self) -> None:
            super().connect()
            seen.add(self)

    class RememberingPool(pool):
        ConnectionCls = RememberedConnection

    return RememberingPool
