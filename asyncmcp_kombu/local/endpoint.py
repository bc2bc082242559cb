"""Plain questions about a host and a port: is it loopback, is it free, does SQS answer there?

The question to SQS is asked with http.client: boto3 takes half a second to import, and would send the
request to a proxy where HTTP_PROXY is set.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket

from asyncmcp_kombu.local.errors import LocalEngineError

_LIST_QUEUES = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Target": "AmazonSQS.ListQueues",
    # Engines do not check the signature, but read from its scope which service is meant.
    "Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/sqs/aws4_request, "
    "SignedHeaders=host, Signature=0",
}


def loopback(host: str) -> str:
    """The IPv4 loopback address that `host` means (`localhost` is 127.0.0.1).

    Raises:
        LocalEngineError: any other host. The engines check no credentials, so they must not be reachable.
    """
    address = "127.0.0.1" if host == "localhost" else host
    try:
        if ipaddress.IPv4Address(address).is_loopback:
            return address
    except ValueError:
        pass
    raise LocalEngineError(
        f"the embedded endpoint checks no credentials, so it listens on loopback only, not on {host!r}; "
        "leave the host out, or use 127.0.0.1"
    )


def claim_port(host: str, port: int) -> int:
    """`port` if nothing listens there; for 0, a free one.

    Raises:
        LocalEngineError: the port is taken, out of range, or not allowed to this user.
    """
    if not 0 <= port <= 65_535:
        raise LocalEngineError(f"port {port} is out of range; use 1 to 65535, or 0 for any free port")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            raise LocalEngineError(f"this user may not listen on port {port}; use one above 1023") from None
        except OSError as error:
            raise LocalEngineError(_taken(host, port, error)) from error
        return int(probe.getsockname()[1])


def answers_sqs(host: str, port: int, timeout: float = 1.0) -> bool:
    """Whether a ListQueues request to `host:port` is answered within `timeout` seconds, as SQS answers it."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("POST", "/", b"{}", _LIST_QUEUES)
        response = connection.getresponse()
        return response.status == 200 and isinstance(json.loads(response.read() or b"{}"), dict)
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()


def _taken(host: str, port: int, error: OSError) -> str:
    text = f"cannot listen on {host}:{port} ({error.strerror}). "
    if answers_sqs(host, port):
        text += "An SQS endpoint already answers there: use it as it is, stop it, or "
    else:
        text += "Stop what listens there, or "
    return text + "choose another port (0 picks a free one)"
