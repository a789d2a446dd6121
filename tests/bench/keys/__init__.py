"""How the table of idempotency keys behaves as it grows, by layout and by shape of key.

`python -m tests.bench.keys --help`.
"""
