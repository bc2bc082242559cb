"""The command line: `asyncmcp-kombu --help`."""
