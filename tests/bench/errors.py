"""What makes a benchmark's figures worthless."""


class BenchError(Exception):
    """A measurement could not be taken, or what was measured did not do its work."""
