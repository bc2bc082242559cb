"""A process that has imported what every worker imports, and forks one for each order on its standard input.

Starting Python and importing Celery, the SDK and boto3 takes a worker longer than all else in most tests. What is
forked runs `python -m <module>` from there on: a session, an environment, arguments and a log of its own.

An order is a line of JSON (`module`, `arguments`, `env`, `cwd`, `out`, `err`), answered by `{"started": pid}`. When a
process ends, `{"ended": pid, "code": n}` is written. It ends with its standard input.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import sys
import tempfile
from typing import Any

PRELOADED = (
    "celery.bin.celery",
    "celery.bin.worker",
    "celery.worker.worker",
    "celery.worker.consumer",
    "celery.concurrency.prefork",
    "celery.concurrency.thread",
    "celery.backends.redis",
    "celery.backends.database",
    "celery.contrib.testing.tasks",
    "boto3",
    "botocore.httpsession",
    "redis",
    "kombu.transport.pyamqp",
    "mcp.server.mcpserver",
    "asyncmcp_kombu",
    "asyncmcp_kombu.fleet",
    "asyncmcp_kombu.tasks.install",
    "asyncmcp_kombu.cli.bridge",
    "asyncmcp_kombu.cli.tasks",
    "asyncmcp_kombu.broker.sqs",
    "asyncmcp_kombu.broker.redis",
    "asyncmcp_kombu.broker.memory",
)


def main() -> None:
    for module in PRELOADED:
        importlib.import_module(module)
    gc.freeze()
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which then close the input
    say(ready=os.getpid())
    while True:
        readable, _, _ = select.select([0, ended], [], [])
        if ended in readable:
            os.read(ended, 4096)
            report_ends()
        if 0 in readable:
            line = sys.stdin.readline()
            if not line:
                return
            order = json.loads(line)
            pid = os.fork()
            if pid == 0:
                os.close(ended)
                os.close(wake)
                become(order)
                return
            say(started=pid)


def report_ends() -> None:
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            say(ended=found[0], code=os.waitstatus_to_exitcode(found[1]))


def say(**news: int) -> None:
    sys.stdout.write(json.dumps(news) + "\n")
    sys.stdout.flush()


def become(order: dict[str, Any]) -> None:
    """In the forked process: be what was ordered, until it ends."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    opened = (
        os.open(os.devnull, os.O_RDONLY),
        *(os.open(order[one], os.O_WRONLY | os.O_APPEND) for one in ("out", "err")),
    )
    for number, given in enumerate(opened):
        os.dup2(given, number)
    os.closerange(3, 256)
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    tempfile.tempdir = None
    paths = [path for path in order["env"].get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = dict.fromkeys([order["cwd"], *paths, *sys.path])
    sys.argv = [order["module"], *order["arguments"]]
    runpy.run_module(order["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
