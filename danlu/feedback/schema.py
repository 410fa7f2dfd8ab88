"""The tables: the log, which only grows, what is derived from it for speed, and who may do what."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()

EVENTS = sa.Table(
    "events",
    METADATA,
    # SQLite counts rows only in a column of exactly this type.
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index("events_subject", "subject", "kind"),
    sa.Index("events_kind", "kind", "seq"),
    sa.Index("events_person", "person", "at"),
    sa.Index("events_task", "task", "person"),
    # Nothing is taken back twice.
    sa.Index(
        "events_undone",
        "subject",
        unique=True,
        sqlite_where=sa.text("kind = 'undo'"),
        postgresql_where=sa.text("kind = 'undo'"),
    ),
    sqlite_autoincrement=True,
)
TASKS = sa.Table(
    "tasks",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("do", sa.Text, nullable=False),
    sa.Column("overlap", sa.Integer, nullable=False),
    sa.Column("gold", sa.Boolean, nullable=False),
    sa.Column("n_done", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),  # open, done, withdrawn
    sa.Index("tasks_queue", "state", "gold", "n_done", "seq"),
)
LEASES = sa.Table(
    "leases",
    METADATA,
    sa.Column("task", sa.Text, primary_key=True),
    sa.Column("person", sa.Text, primary_key=True),
    sa.Column("until", sa.Float, nullable=False),  # seconds since 1970
    sa.Index("leases_person", "person"),
)
PEOPLE = sa.Table(
    "people",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("password", sa.Text, nullable=False),  # scrypt$n$r$p$salt$hash; empty = no password fits
    sa.Column("quota", sa.Integer, nullable=False),  # judgements a day; 0 = what the queue allows everybody
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
)
KEYS = sa.Table(
    "keys",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False, unique=True),  # SHA-256; the key itself is shown once
    sa.Column("person", sa.Text, sa.ForeignKey("people.name"), nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("scopes", sa.Text, nullable=False),  # separated by spaces
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("expires_at", sa.Text, nullable=False),  # empty = never
    sa.Column("revoked_at", sa.Text, nullable=False),  # empty = it is not
)
