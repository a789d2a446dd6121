"""How fast analytics are over an index of a given size, and what other ways of asking cost."""
