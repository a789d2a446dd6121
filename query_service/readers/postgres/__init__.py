"""Answers from PostgreSQL, as role paycore_query."""
