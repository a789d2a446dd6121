"""Planted bugs: each is put into a copy of the tree, and a named test must catch it there."""
