"""Alembic's entry: run the revisions on the connection that :func:`printerd.storage.migrations.upgrade` hands over."""

from alembic import context

from printerd.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
