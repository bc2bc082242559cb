"""NotServed: what a call's task raises where its caller was told nothing.

As when its process could not begin: the server's lifespan failed, the result backend refused, a file was missing.
The main process treats it as it does a process that died (`request.py`).
"""

from __future__ import annotations


class NotServed(Exception):
    """Its text is the name of what was raised; the traceback is in the worker's log."""
