"""Queues on the embedded SQS, and servers on them: in this process, or in one of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sqs.aws import Aws


@pytest.fixture
def aws(sqs_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    monkeypatch.setenv("ASYNCMCP_SECRET_KEY", "0123456789abcdef0123456789abcdef")
    one = Aws(sqs_url)
    yield one
    one.cleanup()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
