"""A DuckDB file under its guards: it has no authorizer, so files and settings are shut off beforehand."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from danlu.tools.sql.confinement import MEANINGS, RefusedError, confine


class DuckDb:
    """A DuckDB file: nothing outside it can be reached, and no setting changed."""

    columns_sql = """
        select c.table_name, c.column_name, c.data_type,
            coalesce(list_contains(k.constraint_column_names, c.column_name), false)
        from duckdb_columns() c left join duckdb_constraints() k
        on k.table_oid = c.table_oid and k.schema_name = 'main' and k.constraint_type = 'PRIMARY KEY'
        and k.database_name = c.database_name
        where c.database_name = current_database() and c.schema_name = 'main' and not c.internal
        order by c.table_name, c.column_index
    """
    keys_sql = """
        select table_name, unnest(constraint_column_names), referenced_table, unnest(referenced_column_names)
        from duckdb_constraints()
        where database_name = current_database() and schema_name = 'main' and constraint_type = 'FOREIGN KEY'
    """
    reserved_bytes = 768 * 2**20  # of address space, for the library's code and the arenas of its threads

    def __init__(self, request: dict[str, Any]) -> None:
        import duckdb

        limits = request["limits"]
        confine(limits["memory_bytes"] + self.reserved_bytes)
        self._duckdb = duckdb
        settings: dict[str, str | bool | int | float | list[str]] = {
            "enable_external_access": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "python_enable_replacements": "false",  # else a table may be a variable of this program
            "temp_directory": "",
            "threads": "1",
            "memory_limit": f"{limits['memory_bytes'] // 2**10}KiB",
        }
        try:
            self._connection = duckdb.connect(request["path"], read_only=True, config=settings)
            self._connection.execute("set integer_division = true; set lock_configuration = true")
        except duckdb.Error as error:
            raise RefusedError(self._in_words(error)) from None
        self._deadline = time.process_time() + limits["cpu_s"]
        self._closed = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def rows(self, sql: str) -> tuple[list[str], Iterator[Sequence[Any]]]:
        try:
            statements = self._connection.extract_statements(sql)
            if [each.type for each in statements] != [self._duckdb.StatementType.SELECT]:
                raise RefusedError("the statement does something else than reading its tables")
            found = self._connection.execute(statements[0])
        except self._duckdb.Error as error:
            raise RefusedError(self._in_words(error)) from None
        return [column[0] for column in found.description or []], self._fetched()

    def close(self) -> None:
        self._closed.set()
        self._connection.close()

    def _fetched(self) -> Iterator[Sequence[Any]]:
        try:
            while rows := self._connection.fetchmany(100):
                yield from rows
        except self._duckdb.Error as error:
            raise RefusedError(self._in_words(error)) from None

    def _watch(self) -> None:
        """End a statement whose time is over; repeatedly, for one interruption may come between two steps."""
        while not self._closed.wait(0.05):
            if time.process_time() > self._deadline:
                self._connection.interrupt()

    def _in_words(self, error: Exception) -> str:
        for kind, words in (
            (self._duckdb.InterruptException, MEANINGS["interrupted"]),
            (self._duckdb.OutOfMemoryException, MEANINGS["out of memory"]),
            (self._duckdb.PermissionException, MEANINGS["prohibited"]),
        ):
            if isinstance(error, kind):
                return words
        if "Conflicting lock" in str(error) or "Could not set lock" in str(error):
            return MEANINGS["locked"]
        return str(error).partition("\n")[0]
