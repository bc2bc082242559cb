"""What a client sees of MCP, one test per behaviour, over every broker, in both eras, from one process and a fleet.

    pytest tests/interaction                                    everything
    pytest tests/interaction/test_tools.py -k redis-single      `serve()`, and the SDK's own transport (`-k sdk`)
    pytest tests/interaction/test_on_fleets.py -k sqs-fleet     the same tests on Celery workers

A test takes `connect`, gets an ordinary `mcp.Client` of one of two servers (`servers/`), and asserts on what that
client sees: never on the server's objects, which may be in another process. The link to what it proves is its
`@requirement`. What passes on the SDK's own transport and fails on ours is ours to explain.
"""
