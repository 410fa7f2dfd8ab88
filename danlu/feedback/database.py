"""Opening the database: SQLite by default, PostgreSQL by URL, both with one writer at a time.

A judgement takes milliseconds to write and seconds to make, so writers wait for each other; each sees all
that was accepted before, and none can collide with another.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from danlu.feedback.errors import FeedbackError, FullDiskError
from danlu.feedback.schema import METADATA

BUSY_MS = 30_000  # how long SQLite waits for another process to end its writing
WRITERS = 0x64616E6C75  # the number of the lock by which PostgreSQL's writers wait for each other
FULL = ("database or disk is full", "no space left on device", "could not extend file")


@dataclass(frozen=True, slots=True)
class Database:
    """An open database with the tables of this version."""

    engine: Engine
    name: str  # for messages, without any password
    # Threads queue here in turn; SQLite itself only lets them try again and again.
    turn: Lock = field(default_factory=Lock)

    @contextmanager
    def write(self, *, lasting: bool = True) -> Generator[Connection]:
        """A transaction that is durable once the body has ended well, and leaves nothing if it has not.

        Args:
            lasting: False is for what may be lost when the power fails, though not when a process dies: it
                waits for no disk. What lasts takes all that was written before it along.
        """
        with self.turn, self._told(), self.engine.connect() as connection:
            connection.execution_options(writes=True, lasting=lasting)
            with connection.begin():
                if self.engine.dialect.name == "postgresql":
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(WRITERS)))
                    if not lasting:
                        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
                yield connection

    @contextmanager
    def read(self) -> Generator[Connection]:
        """A view of one moment, which no writer disturbs."""
        with self._told(), self.engine.connect() as connection:
            if self.engine.dialect.name == "postgresql":
                connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _told(self) -> Generator[None]:
        """Say in plain words what a database refuses."""
        try:
            yield
        except DBAPIError as error:
            kind = FullDiskError if is_full(error) else FeedbackError
            raise kind(f"{self.name}: {in_words(error)}") from error


def open_database(where: str | Path, *, create: bool = True) -> Database:
    """Open, and where needed create or bring up to date, the database at a path or URL."""
    url = database_url(where)
    name = (
        url.render_as_string(hide_password=True) if url.get_backend_name() != "sqlite" else str(url.database)
    )
    if url.get_backend_name() == "sqlite":
        _check_place(Path(str(url.database)), create)
    database = Database(_engine(url), name)
    try:
        _bring_up_to_date(database, create)
        if url.get_backend_name() == "sqlite":
            _let_readers_read(database)
    except FeedbackError:
        database.close()
        raise
    return database


def database_url(where: str | Path) -> URL:
    """The URL that a setting means: a URL as it is, anything else a SQLite file."""
    if "://" not in str(where):
        return URL.create("sqlite", database=str(where))
    try:
        url = make_url(str(where))
    except ArgumentError:
        raise FeedbackError(
            "the database's URL cannot be read; expected postgresql://user@host/name"
        ) from None
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise FeedbackError(
            f"databases of the kind {url.drivername!r} are not supported; use SQLite or PostgreSQL"
        )
    if not url.database:
        raise FeedbackError(
            f"{url.render_as_string()} names no database; a store in memory would keep nothing"
        )
    return url


def _check_place(path: Path, create: bool) -> None:
    if path.is_dir():
        raise FeedbackError(
            f"{path}: is a folder; expected a database file, for example {path / 'feedback.db'}"
        )
    if not path.exists() and not create:
        raise FeedbackError(f"{path}: no such database; `danlu feedback import` or `tasks` makes one")
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)


def _engine(url: URL) -> Engine:
    try:
        engine = sa.create_engine(url, pool_size=16, max_overflow=48)
    except ModuleNotFoundError as error:
        raise FeedbackError(f"PostgreSQL needs {error.name}: pip install 'danlu[postgres]'") from None
    except NoSuchModuleError:
        raise FeedbackError(f"no driver is known by {url.drivername!r}; use postgresql+psycopg") from None
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _: Any) -> None:
    """Transactions are begun by `_begin` alone."""
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")


def _begin(connection: Connection) -> None:
    """With FULL a commit is on the disk when it returns; with NORMAL only in the hands of the system."""
    options = connection.get_execution_options()
    lasting = options.get("lasting", True)
    connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if lasting else 'NORMAL'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes") else "BEGIN")


def _let_readers_read(database: Database) -> None:
    """Write-ahead logging stays on in the file: readers and the writer do not wait for each other."""
    with database._told(), database.engine.connect() as connection:  # pyright: ignore[reportPrivateUsage]
        raw: Any = connection.connection.dbapi_connection
        raw.execute("PRAGMA journal_mode = WAL")


def _bring_up_to_date(database: Database, create: bool) -> None:
    """Run the migrations that are missing; a database of a newer version, or of others, is left alone."""
    config = Config()
    config.set_main_option("script_location", "danlu.feedback:migrations")
    with database.write() as connection:
        scripts = ScriptDirectory.from_config(config)
        found = MigrationContext.configure(connection).get_current_revision()
        known = [each.revision for each in scripts.walk_revisions()]
        if found is not None and found not in known:
            raise FeedbackError(
                f"{database.name}: written by a newer version of danlu (tables of revision {found}, known "
                f"here up to {known[0]}); upgrade danlu to open it. Nothing was changed"
            )
        if found is None:
            _check_free(connection, database.name, create)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _check_free(connection: Connection, name: str, create: bool) -> None:
    taken = sorted(set(sa.inspect(connection).get_table_names()) & set(METADATA.tables))
    others = sorted(sa.inspect(connection).get_table_names())
    if taken or (others and connection.dialect.name == "sqlite"):
        raise FeedbackError(
            f"{name}: holds the tables {', '.join((taken or others)[:4])} of another program; "
            "give feedback a database of its own"
        )
    if not create:
        raise FeedbackError(f"{name}: holds no feedback; `danlu feedback import` or `tasks` begins a store")


def is_full(error: DBAPIError) -> bool:
    """Whether there was no room on the disk."""
    return any(sign in str(error.orig).lower() for sign in FULL)


def in_words(error: DBAPIError) -> str:
    """What a failure of the database means for whoever gave a judgement."""
    said = str(error.orig).strip().splitlines()[0] if error.orig else str(error)
    if is_full(error):
        return (
            "the disk is full, and this was not accepted; all that was accepted before is safe. "
            "Make room and send it again"
        )
    if "not a database" in said:
        return "is no SQLite database"
    if isinstance(error, OperationalError):
        return f"{said}; this was not accepted, and all that was accepted before is safe"
    raise error
