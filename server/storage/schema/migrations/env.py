"""What Alembic runs: it works on the connection, and in the transaction, that `migrate` gives it."""

from alembic import context

from server.storage.schema.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    progress=context.config.attributes.get("progress"),
)
context.run_migrations()
