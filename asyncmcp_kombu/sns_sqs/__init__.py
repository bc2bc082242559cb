"""MCP over SNS topics and SQS queues that are known by ARN and URL, with the caller's own boto3 clients."""

from __future__ import annotations

from asyncmcp_kombu.sns_sqs.client import sns_sqs_client
from asyncmcp_kombu.sns_sqs.config import SnsSqsClientConfig, SnsSqsServerConfig, SnsSqsTransportConfig
from asyncmcp_kombu.sns_sqs.server import sns_sqs_server

__all__ = ["SnsSqsClientConfig", "SnsSqsServerConfig", "SnsSqsTransportConfig", "sns_sqs_client", "sns_sqs_server"]
