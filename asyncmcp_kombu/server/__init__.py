"""The server side without Celery: one request in, one reply out. MCP itself is the SDK's."""
