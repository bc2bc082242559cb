"""One process behind the queue, without Celery. Run as `python -m tests.conformance.single`."""

from __future__ import annotations

import anyio

from asyncmcp_kombu import serve
from asyncmcp_kombu.settings import Settings
from tests.conformance.server import NAME, make_server


async def main() -> None:
    broker_url = Settings().broker_url.get_secret_value()
    async with anyio.create_task_group() as tasks:

        async def service(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            await serve(make_server(), broker_url, name=NAME, task_status=task_status)

        await tasks.start(service)
        print("ready", flush=True)


if __name__ == "__main__":
    anyio.run(main)
