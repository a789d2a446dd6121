"""Generated stubs of the risk service's contract."""
