"""Generated stubs of the echo's contract."""
