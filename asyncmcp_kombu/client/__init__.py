"""The client side: an MCP transport over a queue, for the SDK's ordinary `mcp.Client`. Never imports Celery."""
