"""A small, real fleet: `celery -A workers worker`. Configured from the environment only (ASYNCMCP_*)."""

from workers.app import app

__all__ = ["app"]
