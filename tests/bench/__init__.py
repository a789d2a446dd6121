"""The benchmark: what paycore does on one machine, as ratios to what the machine can do.

`python -m tests.bench --help`.
"""
