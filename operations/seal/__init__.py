"""Seals personal data that was stored before it was sealed at once."""
