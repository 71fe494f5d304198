"""Alembic's entry: runs on the connection that `issuance.database.migrate_connection` hands over."""

from __future__ import annotations

from alembic import context

from issuance import models

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=models.ApplicationRow.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
