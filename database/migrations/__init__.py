"""Forward-only migrations, run by Alembic."""
