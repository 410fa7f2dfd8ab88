"""Which engine a database belongs to, told by its URL or its name, and what its process needs to open it."""

from __future__ import annotations

import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danlu.tools.sql.dialects import DUCKDB, POSTGRESQL, Dialect
from danlu.tools.sql.tokens import SqlError
from danlu.tools.visible import one_line

URL = re.compile(r"postgres(?:ql)?(?:\+psycopg)?:/+")
# By the name alone: to open and close a SQLite file here would drop the locks that this process holds on it.
DUCKDB_ENDINGS = (".duckdb", ".ddb")


@dataclass(frozen=True, slots=True)
class Engine:
    """What reads a database."""

    kind: str  # as the worker knows it
    where: str  # path or URL
    shown: str  # in messages; of a URL nothing, for it may hold a password
    dialect: Dialect | None = None  # None for SQLite, which the grammar speaks
    package: str = ""
    extra: str = ""  # of danlu, which brings the package

    def place(self) -> dict[str, Any]:
        """The part of a request that says where the database is."""
        place: dict[str, Any] = {"engine": self.kind, "path": self.where, "packages": self._packages()}
        if self.kind != "sqlite":
            return place
        return {**place, "uri": Path(self.where).as_uri().replace("?", "%3f").replace("#", "%23")}

    def _packages(self) -> list[str]:
        """Folders in which the engine's package and what it needs are found."""
        if not self.package:
            return []
        found = importlib.util.find_spec(self.package)
        if found is None or found.origin is None:
            name = self.dialect.name if self.dialect else self.kind
            raise SqlError(f"{name} needs {self.package}: pip install 'danlu[{self.extra}]'")
        return [str(Path(found.origin).parent.parent)]


def is_url(where: Path | str) -> bool:
    """Whether a database is named by a URL of PostgreSQL."""
    return isinstance(where, str) and URL.match(where) is not None


def engine_of(where: Path | str) -> Engine:
    """The engine of a PostgreSQL URL, or of a file by its ending; SqlError where there is no file."""
    if is_url(where):
        url = URL.sub("postgresql://", str(where), count=1)
        return Engine("postgresql", url, "PostgreSQL", POSTGRESQL, "psycopg", "postgres")
    if "://" in str(where):
        raise SqlError("the URL is of no database that is read here; expected postgresql://user@host/name")
    path = Path(os.path.realpath(where))  # of links in a circle `resolve` makes an error
    if not path.is_file():
        raise SqlError(f"{one_line(str(where))}: no such file" + " but a folder" * path.is_dir())
    if path.suffix.lower() in DUCKDB_ENDINGS:
        return Engine("duckdb", str(path), path.name, DUCKDB, "duckdb", "sql")
    return Engine("sqlite", str(path), path.name)
