"""All SQL of the system: roles, migrations and the named queries that Python calls."""
