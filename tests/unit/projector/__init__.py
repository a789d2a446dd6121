"""Mirrors `projector`."""
