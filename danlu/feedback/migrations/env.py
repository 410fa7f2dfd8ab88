"""Alembic's entry: migrations run on the connection, and in the transaction, of whoever opens the store."""

from __future__ import annotations

from alembic import context

from danlu.feedback.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
