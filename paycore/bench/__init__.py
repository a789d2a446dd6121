"""Generated stubs of the echo that the benchmark compares with."""
