"""The broker under chaos: behind a proxy that cuts its connections; the embedded engine is also stopped and started."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from asyncmcp_kombu.local import LocalEngine
from tests import services
from tests.brokers.network import at_port
from tests.brokers.proxy import Proxy


class Broker:
    """`url` leads through the proxy; `direct` past it.

    Args:
        name: `sqs` (an engine of its own), `redis` or `rabbitmq` (which run already, and are never restarted).
    """

    def __init__(self, name: str, directory: Path, engine: str) -> None:
        self._engine: LocalEngine | None = None
        if name == "sqs":
            self._engine = LocalEngine(engine, port=services.free_port(), data_dir=directory / "engine")
            self._engine.start()
            self.direct = self._engine.broker_url
        else:
            self.direct = {"redis": services.REDIS_URL, "rabbitmq": services.AMQP_URL}[name]
        self.proxy = Proxy(urlsplit(self.direct).port or 0)
        self.url = at_port(self.direct, self.proxy.port)

    @property
    def can_restart(self) -> bool:
        return self._engine is not None

    def restart(self) -> None:
        """Stop it, in order, so that it keeps what it has accepted, and start it again. Blocks for a second."""
        assert self._engine is not None
        self.proxy.cut()  # no request is under way when it stops: the engine would accept it and forget it
        self._engine.stop()
        self._engine.start()
        self.proxy.restore()

    def close(self, prefix: str) -> None:
        self.proxy.close()
        if self._engine is not None:
            self._engine.stop()
        else:
            services.cleanup_queues(self.direct, prefix, replies=True)
