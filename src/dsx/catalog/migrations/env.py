"""Alembic's entry: runs on the connection and in the transaction that `Catalog` hands over."""

from alembic import context

from dsx.catalog.schema.base import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
