"""`make chaos`: thousands of calls while workers are killed and the broker is cut off. Is one lost, or answered twice?

`python -m tests.chaos --help` says what can be chosen.
"""
