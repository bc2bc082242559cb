"""Kombu from anyio: connections, one publishing thread, one consuming thread, and the transports."""
