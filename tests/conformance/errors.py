"""What keeps the suite from running at all; a failed check is no error but a result."""

from __future__ import annotations


class CannotRun(Exception):
    """npm is missing, a process did not come up, or a setting makes no sense; the text says what to do."""
