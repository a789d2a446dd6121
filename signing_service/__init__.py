"""Holds PINs and keys, and signs what payers approve. Isolated: own process, role and schema."""
