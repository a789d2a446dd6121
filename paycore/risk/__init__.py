"""Generated stubs of the risk service that may judge payments."""
