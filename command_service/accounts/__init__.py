"""Opening accounts and changing what may happen on them."""
