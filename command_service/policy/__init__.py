"""Changing policy: when payers must approve, and what clients may do."""
