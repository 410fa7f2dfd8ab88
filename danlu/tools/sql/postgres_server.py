"""A PostgreSQL server under its guards: one cursor, in a transaction that only reads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from danlu.tools.sql.confinement import MEANINGS, RefusedError, confine


class Postgres:
    """A PostgreSQL server: one transaction that may only read, one cursor, a limit of time."""

    columns_sql = """
        select c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod),
            coalesce(a.attnum = any (k.conkey), false)
        from pg_class c join pg_attribute a on a.attrelid = c.oid
        left join pg_constraint k on k.conrelid = c.oid and k.contype = 'p'
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
        and a.attnum > 0 and not a.attisdropped and has_column_privilege(c.oid, a.attnum, 'SELECT')
        order by c.relname, a.attnum
    """
    keys_sql = """
        select t.relname::text, a.attname::text, o.relname::text, b.attname::text
        from pg_constraint c join pg_class t on t.oid = c.conrelid
        cross join lateral unnest(c.conkey, c.confkey) as pair (here, there)
        join pg_attribute a on a.attrelid = c.conrelid and a.attnum = pair.here
        join pg_attribute b on b.attrelid = c.confrelid and b.attnum = pair.there
        join pg_class o on o.oid = c.confrelid
        where c.contype = 'f' and c.connamespace = 'public'::regnamespace
    """

    def __init__(self, request: dict[str, Any]) -> None:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict, make_conninfo

        limits = request["limits"]
        confine(limits["memory_bytes"])
        self._psycopg = psycopg
        self._cursor: psycopg.ServerCursor[Any] | None = None
        try:
            parts = conninfo_to_dict(request["path"])
        except psycopg.Error:  # its text may hold the password
            raise RefusedError("the URL cannot be read; expected postgresql://user@host/name") from None
        self._password = str(parts.get("password") or "")
        wait_s = max(2, int(limits["wall_s"] / 2))
        try:
            whole = make_conninfo(request["path"], connect_timeout=wait_s, client_encoding="utf-8")
            self._connection = psycopg.connect(whole)
            self._connection.read_only = True
            self._restrict(limits)
        except psycopg.Error as error:
            raise RefusedError(self._in_words(error)) from None

    def _restrict(self, limits: dict[str, Any]) -> None:
        settings = (
            ("statement_timeout", int(limits["cpu_s"] * 1000)),
            ("idle_in_transaction_session_timeout", int(limits["wall_s"] * 1000)),
            ("lock_timeout", max(1, int(limits["busy_s"] * 1000))),
            ("max_parallel_workers_per_gather", 0),
            ("search_path", "pg_catalog, public, pg_temp"),
            ("timezone", "UTC"),
        )
        for name, value in settings:
            self._connection.execute("select set_config(%s, %s, true)", (name, str(value)))
        if self._connection.info.parameter_status("is_superuser") == "on":
            self._connection.execute("set local role pg_read_all_data")  # else it may read the server's files

    def rows(self, sql: str) -> tuple[list[str], Iterator[Sequence[Any]]]:
        self._end_cursor()
        try:
            self._cursor = self._connection.cursor(name="danlu")
            self._cursor.execute(sql.encode())
        except self._psycopg.Error as error:
            raise RefusedError(self._in_words(error)) from None
        return [column.name for column in self._cursor.description or []], self._fetched(self._cursor)

    def close(self) -> None:
        with contextlib.suppress(self._psycopg.Error):
            self._end_cursor()
            self._connection.rollback()
        self._connection.close()

    def _end_cursor(self) -> None:
        if self._cursor is not None:
            self._cursor.close()
            self._cursor = None

    def _fetched(self, cursor: Any) -> Iterator[Sequence[Any]]:
        try:
            while rows := cursor.fetchmany(100):
                yield from rows
        except self._psycopg.Error as error:
            raise RefusedError(self._in_words(error)) from None

    def _in_words(self, error: Any) -> str:
        words = {
            "57014": MEANINGS["interrupted"],
            "55P03": MEANINGS["locked"],
            "25006": MEANINGS["not authorized"],
            "42501": MEANINGS["prohibited"],
        }.get(error.sqlstate or "")
        text = words or error.diag.message_primary or str(error)
        return text.replace(self._password, "…") if self._password else text
