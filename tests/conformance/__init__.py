"""Official software against our servers: `make conformance`.

`python -m tests.conformance` runs the MCP conformance suite, `python -m tests.conformance.inspector` the MCP Inspector.
What is what: `server.py` and `fixtures/` are the server that the suite asks for, `backends.py` starts it in three
ways, `install.py` fetches suite and Inspector, `suite.py` runs the suite, `report.py` shows what came out.
"""
