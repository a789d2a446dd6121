"""Random calls of every method, made from descriptors."""
