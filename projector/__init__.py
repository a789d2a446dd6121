"""Follows the ledger's journal and feeds it to sinks that answer reads."""
