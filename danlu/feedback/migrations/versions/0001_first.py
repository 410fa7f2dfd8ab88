"""The first tables. The log refuses to be changed, whoever asks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

GUARDS = {
    "sqlite": (
        "CREATE TRIGGER events_never_change BEFORE UPDATE ON events"
        " BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END",
        "CREATE TRIGGER events_never_go BEFORE DELETE ON events"
        " BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION events_are_kept() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'the log is append-only'; END $$",
        "CREATE TRIGGER events_never_change BEFORE UPDATE OR DELETE OR TRUNCATE ON events"
        " FOR EACH STATEMENT EXECUTE FUNCTION events_are_kept()",
    ),
}


def upgrade() -> None:
    create_log()
    create_queue()
    create_people()
    for statement in GUARDS[op.get_bind().dialect.name]:
        op.execute(statement)


def create_log() -> None:
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        *(
            sa.Column(name, sa.Text, nullable=False)
            for name in ("kind", "at", "person", "subject", "task", "body")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("events_subject", "events", ["subject", "kind"])
    op.create_index("events_kind", "events", ["kind", "seq"])
    op.create_index("events_person", "events", ["person", "at"])
    op.create_index("events_task", "events", ["task", "person"])
    undone = sa.text("kind = 'undo'")
    op.create_index(
        "events_undone", "events", ["subject"], unique=True, sqlite_where=undone, postgresql_where=undone
    )


def create_queue() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("do", sa.Text, nullable=False),
        sa.Column("overlap", sa.Integer, nullable=False),
        sa.Column("gold", sa.Boolean, nullable=False),
        sa.Column("n_done", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
    )
    op.create_index("tasks_queue", "tasks", ["state", "gold", "n_done", "seq"])
    op.create_table(
        "leases",
        sa.Column("task", sa.Text, primary_key=True),
        sa.Column("person", sa.Text, primary_key=True),
        sa.Column("until", sa.Float, nullable=False),
    )
    op.create_index("leases_person", "leases", ["person"])


def create_people() -> None:
    op.create_table(
        "people",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("password", sa.Text, nullable=False),
        sa.Column("quota", sa.Integer, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False, unique=True),
        sa.Column("person", sa.Text, sa.ForeignKey("people.name"), nullable=False),
        *(
            sa.Column(name, sa.Text, nullable=False)
            for name in ("label", "scopes", "created_at", "expires_at", "revoked_at")
        ),
    )
