"""Which names the HTTP bridge answers to: protection against DNS rebinding, on always.

A web page can have a browser send requests to a local server under the page's own host name, by changing what the
name resolves to. So the `Host` header must be a name that is known to be ours, and the `Origin`, which a browser
sends and other clients do not, a site that was allowed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from mcp.server.transport_security import TransportSecuritySettings

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to a socket bound there. A name other than `localhost` may be any."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def in_url(host: str) -> str:
    """A host as URLs and `Host` headers have it."""
    return f"[{host}]" if ":" in host else host


def protection(
    host: str, port: int, hosts: Iterable[str] = (), origins: Iterable[str] = ()
) -> TransportSecuritySettings:
    """What is allowed beside the loopback names.

    Args:
        host, port: where the socket is bound.
        hosts: further `Host` values. Without a port, the name is allowed with any: a tunnel or a container may
            publish another one, and it is the name that an attacker cannot choose.
        origins: further `Origin` values, as `https://app.example.com`, exactly as browsers send them.
    """
    named = {*LOOPBACK, in_url(host), *hosts}
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=sorted({*named, *(f"{name}:*" for name in named if not _has_port(name))}),
        allowed_origins=sorted({*(f"http://{name}:{port}" for name in LOOPBACK), *origins}),
    )


def _has_port(name: str) -> bool:
    return ":" in name.rpartition("]")[2]
