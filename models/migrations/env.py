"""Alembic's entry point: migrate on the connection that `models.migrations` passes, or print the SQL (offline mode)."""

from alembic import context

from models.schema import metadata

if context.is_offline_mode():
    context.configure(
        dialect_name="postgresql", target_metadata=metadata, literal_binds=True, transaction_per_migration=True
    )
else:
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
context.run_migrations()
