"""How fast the journal is sealed, and its chain followed."""
