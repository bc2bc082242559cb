"""Run a script in this process until the parent is gone: `python -P with_parent.py SCRIPT ARG…`.

Standard input is a pipe from the parent. When it ends, the parent has ended too, however that happened.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

GRACE = 3.0
"""Seconds for an orderly end before the process is ended as it is."""


def leave_with_parent() -> None:
    # os.read, not sys.stdin: a buffered reader's lock breaks the interpreter's shutdown.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=leave_with_parent, name="leave-with-parent", daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
