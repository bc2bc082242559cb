"""MCP between SQS queues that are known by URL, with the caller's own boto3 client."""

from __future__ import annotations

from asyncmcp_kombu.sqs.client import sqs_client
from asyncmcp_kombu.sqs.config import SqsClientConfig, SqsServerConfig
from asyncmcp_kombu.sqs.server import sqs_server

__all__ = ["SqsClientConfig", "SqsServerConfig", "sqs_client", "sqs_server"]
