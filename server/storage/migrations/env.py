"""What Alembic runs: it works on the connection, and in the transaction, that `migrate` gives it."""

from alembic import context

from server.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
context.run_migrations()
