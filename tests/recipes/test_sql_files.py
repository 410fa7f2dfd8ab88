"""Parquet files, alone and beside CSV files, asked as any database is; files that are a trap are refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danlu.recipes import sql_parquet
from danlu.recipes.sql_files import as_database
from danlu.tools.sql.database import Database, SqlLimits
from danlu.tools.sql.tokens import SqlError

PATIENT = SqlLimits(wall_s=600)
KINDS: list[tuple[pa.DataType, Any, str, object]] = [
    (pa.bool_(), True, "INTEGER", 1),
    (pa.int64(), -(2**63), "INTEGER", -(2**63)),
    (pa.uint8(), 255, "INTEGER", 255),
    (pa.float32(), 0.25, "REAL", 0.25),
    (pa.float64(), float("nan"), "REAL", None),
    (pa.decimal128(18, 0), Decimal("999999999999999999"), "INTEGER", 999999999999999999),
    (pa.decimal128(10, 2), Decimal("1.25"), "REAL", 1.25),
    (pa.string(), "北京", "TEXT", "北京"),
    (pa.dictionary(pa.int8(), pa.string()), "x", "TEXT", "x"),
    (pa.date32(), date(2024, 5, 1), "DATE", "2024-05-01"),
    (pa.time64("us"), time(7, 8, 9), "TIME", "07:08:09"),
    (pa.timestamp("us"), datetime(2024, 5, 1, 7, 8, 9), "DATETIME", "2024-05-01 07:08:09"),
    (pa.timestamp("ns"), 1_123_456_789, "DATETIME", "1970-01-01 00:00:01.123456"),
    (
        pa.timestamp("us", "Asia/Shanghai"),
        datetime(2024, 5, 1, 7, tzinfo=UTC),
        "DATETIME",
        "2024-05-01 07:00:00",
    ),
    (pa.duration("s"), timedelta(hours=26), "TEXT", "1 day, 2:00:00"),
    (pa.binary(), b"\0\1", "BLOB", "<2 bytes>"),
    (pa.list_(pa.int32()), [1, None], "TEXT", "[1, null]"),
    (pa.struct({"a": pa.string()}), {"a": "é"}, "TEXT", '{"a": "é"}'),
    (pa.null(), None, "TEXT", None),
]


def test_each_type_has_its_counterpart_and_each_value_its_meaning(tmp_path: Path):
    columns = {f"c{i}": pa.array([value, None], kind) for i, (kind, value, _, _) in enumerate(KINDS)}
    pq.write_table(pa.table(columns), tmp_path / "kinds.parquet")
    with as_database(tmp_path / "kinds.parquet") as path:
        database = Database(path, PATIENT)
        (table,) = database.schema().tables
        rows = database.select("SELECT * FROM kinds").rows
    assert list(table.columns.values()) == [declared for _, _, declared, _ in KINDS]
    assert rows == [[held for _, _, _, held in KINDS], [None] * len(KINDS)]
    assert not path.exists()


def test_a_folder_of_parquet_and_csv_files_is_one_database(tmp_path: Path):
    pq.write_table(
        pa.table({"name": ["Paris", "Lyon"], "country": ["FR", "FR"], "since": [date(1, 1, 1)] * 2}),
        tmp_path / "city.parquet",
    )
    (tmp_path / "country.CSV").write_text("code,title\nFR,France\n")
    (tmp_path / "notes.txt").write_text("no table")
    with as_database(tmp_path) as path:
        database = Database(path, PATIENT)
        assert database.schema().describe() == (
            "city(name TEXT, country TEXT, since DATE)\ncountry(code TEXT, title TEXT)"
        )
        found = database.select(
            "SELECT title, count(*), min(strftime('%Y', since)) FROM city JOIN country ON code = country "
            "GROUP BY title"
        )
    assert found.rows == [["France", 2, "0001"]]


def test_rows_of_several_batches_and_row_groups_are_all_there(tmp_path: Path):
    n = 3 * sql_parquet.BATCH_ROWS + 7
    pq.write_table(pa.table({"x": range(n)}), tmp_path / "t.parquet", row_group_size=1300)
    with as_database(tmp_path / "t.parquet") as path:
        rows = Database(path, PATIENT).select("SELECT count(*), sum(x), count(DISTINCT x) FROM t").rows
    assert rows == [[n, n * (n - 1) // 2, n]]


def test_a_question_in_a_cell_or_a_name_stays_what_it_is(tmp_path: Path):
    name = 'x"; drop table t; --'
    pq.write_table(pa.table({name: ["'); DELETE FROM t; --"]}), tmp_path / f"{name}.parquet")
    with as_database(tmp_path / f"{name}.parquet") as path:
        found = Database(path, PATIENT).select('SELECT * FROM "x""; drop table t; --"')
    assert (found.columns, found.rows) == ([name], [["'); DELETE FROM t; --"]])


def written(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path)
    return path


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"x": pa.array([2**63], pa.uint64())}), "'x' holds 9223372036854775808; integers are read"),
        (pa.table({"x": ["a" * 100_001]}), "'x' has a cell of more than 100,000 characters"),
        (pa.table({f"c{i}": [1] for i in range(201)}), "201 columns; 1 to 200 are read"),
        (pa.table({}), "0 columns"),
        (pa.table({"a": [1], "A": [2]}), "duplicate column name: A"),
        (pa.table({"d": pa.array([2**40], pa.timestamp("s"))}), "column 'd': "),
    ],
)
def test_what_sqlite_cannot_hold_is_refused_with_the_reason(tmp_path: Path, table: pa.Table, message: str):
    path = written(tmp_path / "t.parquet", table)
    with pytest.raises(SqlError, match=message):
        sql_parquet.load(str(path), str(tmp_path / "t.db"), "t")


def test_files_that_are_no_parquet_or_too_large_are_refused_with_the_reason(tmp_path: Path):
    whole = written(tmp_path / "whole.parquet", pa.table({"x": range(100)})).read_bytes()
    content = {
        "cut": whole[: len(whole) // 2],
        "bent": whole[:4] + b"\xff" * 60 + whole[64:],
    }
    for name, raw in content.items():
        path = tmp_path / f"{name}.parquet"
        path.write_bytes(raw)
        with pytest.raises(SqlError, match=rf"{name}\.parquet: no Parquet file that"), as_database(path):
            pass
    huge = tmp_path / "huge.parquet"
    with huge.open("wb") as file:
        file.truncate(2 * 2**30)
    for path, message in {
        huge: "bytes; files are read up to",
        tmp_path / "none.parquet": "no such file",
    }.items():
        with pytest.raises(SqlError, match=message), as_database(path):
            pass


def test_a_file_that_unfolds_to_more_than_is_granted_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Ten thousand cells of 90,000 letters are a few kilobytes in Parquet, and 900 MB in SQLite."""
    one = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), pa.array(["x" * 90_000]))
    path = written(tmp_path / "t.parquet", pa.table({"x": one}))
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(sql_parquet, "MAX_COPY", 2**20)
    with pytest.raises(SqlError, match="the copy would have more than 1,048,576 bytes"):
        sql_parquet.load(str(path), str(tmp_path / "t.db"), "t")
    monkeypatch.setattr(sql_parquet, "MAX_ROWS", 9_999)
    with pytest.raises(SqlError, match="10,000 rows; at most 9,999 are read"):
        sql_parquet.load(str(path), str(tmp_path / "u.db"), "u")


def test_two_files_that_would_be_one_table_are_refused(tmp_path: Path):
    written(tmp_path / "Sales.parquet", pa.table({"x": [1]}))
    (tmp_path / "sales.csv").write_text("x\n1\n")
    with (
        pytest.raises(SqlError, match=r"Sales\.parquet and sales\.csv would be tables of one name"),
        as_database(tmp_path),
    ):
        pass
