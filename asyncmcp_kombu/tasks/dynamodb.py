"""DynamoDB as result backend: Celery's own, reading what was written last and forgetting what has expired.

Celery 5.7 reads with DynamoDB's default, which may be a moment behind: a task whose handle was just sent would be
unknown (SEP-2663: "servers must wait for consistency"). And without `ttl_seconds` in its URL it would keep tasks for
ever: here that is Celery's `result_expires`, as for its other backends.

Private name of Celery 5.7 used here: `DynamoDBBackend._prepare_get_request`. tests/tasks/test_backends.py fails when
it goes.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery import Celery
from celery.backends.dynamodb import DynamoDBBackend


class ConsistentDynamoDB(DynamoDBBackend):
    """Named for `dynamodb://` by `serve_mcp`."""

    def __init__(self, *args: Any, app: Celery, **kwargs: Any) -> None:
        expires: Any = app.conf.result_expires
        if expires:
            self.time_to_live_seconds = int(expires.total_seconds() if isinstance(expires, timedelta) else expires)
        super().__init__(*args, app=app, **kwargs)

    def _prepare_get_request(self, key: Any) -> dict[str, Any]:
        return {**super()._prepare_get_request(key), "ConsistentRead": True}

    def delete(self, key: Any) -> None:
        """Celery asks as if it read, but a deletion takes no such parameter."""
        self.client.delete_item(**super()._prepare_get_request(str(key)))
