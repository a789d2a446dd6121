"""How fast verification is, and what it takes."""
