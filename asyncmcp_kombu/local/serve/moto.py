"""moto's threaded server on HOST PORT, without its line of log per request."""

from __future__ import annotations

import importlib
import logging
import sys

if __name__ == "__main__":
    host, port = sys.argv[1:]
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    importlib.import_module("moto.server").main(["-H", host, "-p", port])
