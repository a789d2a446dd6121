"""Prepares a database: roles, schema, and the data that a local stack needs."""
