"""Moving a database to a revision. The only room that knows Alembic."""
