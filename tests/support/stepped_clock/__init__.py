"""Starts a service whose clock a test steps: `python -m tests.support.stepped_clock FILE MODULE`.

FILE holds by how many seconds the wall clock is wrong; it is read at each look, so that the clock
can be stepped while the service runs. Time that passes (`time.monotonic`) passes as it does.
"""
