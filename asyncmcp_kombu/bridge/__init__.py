"""The bridge: any MCP host, over stdio or Streamable HTTP, in front of a queue. It forwards, and knows no tool."""
