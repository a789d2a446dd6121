"""How figures are shown in a terminal."""
