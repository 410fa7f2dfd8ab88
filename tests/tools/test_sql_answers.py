"""What is said beside the rows: explanation, reasons, advice with its evidence, proposals, charts."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hostile import HOSTILE

from danlu.recipes.sql_files import as_database
from danlu.tools.sql import advice, charts, emptiness
from danlu.tools.sql.database import Database, Rows, SqlLimits
from danlu.tools.sql.explain import explain
from danlu.tools.sql.render import render
from danlu.tools.sql.syntax import read
from danlu.tools.sql.tokens import SqlError
from danlu.tools.sql.writes import deletion, is_write, propose
from danlu.tools.visible import whole_unicode

PATIENT = SqlLimits(wall_s=600)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Database:
    path = tmp_path_factory.mktemp("shop") / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table customer (id integer primary key, name text, city text)")
        connection.execute(
            "create table sale (id integer primary key, customer integer references customer(id), "
            "day text, amount integer)"
        )
        towns = ["Paris", "Lyon", " Lille"]
        connection.executemany(
            "insert into customer values (?, ?, ?)", [(i, f"c{i}", towns[i % 3]) for i in range(300)]
        )
        connection.executemany(
            "insert into sale values (?, ?, ?, ?)",
            [(i, i % 200, f"20{i % 20:02d}-05-01", i % 50) for i in range(3000)],
        )
    connection.close()
    return Database(path, PATIENT)


@pytest.mark.parametrize(
    "sql",
    [
        "WITH f(a, b) AS (SELECT 1, 'x''y') SELECT DISTINCT f.a AS q FROM f WHERE NOT a = -1 OR b IS NULL",
        "SELECT k.name, count(DISTINCT c.x) FROM c LEFT JOIN k ON c.k = k.i, l USING (i) "
        "GROUP BY k.name, 2 HAVING sum(x) > 1 + 2 * 3 ORDER BY 1 DESC NULLS LAST, x LIMIT 3 OFFSET 4",
        "SELECT CASE x WHEN 1 THEN 'a' ELSE 'b' END, CAST(x AS TEXT) || '!' FROM (SELECT x FROM t) AS s",
        "SELECT x FROM t WHERE x NOT BETWEEN 1 AND 2 AND y LIKE 'a%' ESCAPE '!' AND (x, y) IN (SELECT 1, 2)",
        "SELECT * FROM t WHERE EXISTS (SELECT t.* FROM u) AND x COLLATE NOCASE = 'a' "
        "UNION ALL SELECT max(1, 2) EXCEPT SELECT 3",
    ],
)
def test_a_tree_is_written_as_it_was_read(sql: str):
    assert render(read(sql).query) == sql


def test_operators_bind_as_in_sqlite(shop: Database):
    """Brackets put where the tree says give the same value as none."""
    connection = sqlite3.connect(":memory:")
    for text in ("1 + 2 * 3 - 4 || 5", "1 OR 0 AND 0", "NOT 1 = 2", "2 = 1 + 1 AND 3 > 2 OR 0", "NOT 0 + 1"):
        tree = read(f"SELECT {text}").query.selects[0].items[0].expression
        (plain,), (bracketed,) = (
            connection.execute(f"SELECT {each}").fetchone() for each in (text, nested(tree))
        )
        assert plain == bracketed, text
    connection.close()


def nested(node: object) -> str:
    from danlu.tools.sql.render import expression
    from danlu.tools.sql.tree import Binary, Unary

    if isinstance(node, Binary):
        return f"({nested(node.left)} {node.operator} {nested(node.right)})"
    if isinstance(node, Unary):
        return f"({node.operator} {nested(node.operand)})"
    return expression(node)  # type: ignore[arg-type]


def test_a_statement_is_explained_step_by_step_in_both_languages():
    sql = (
        "SELECT c.city, count(*) AS n FROM sale s JOIN customer c ON s.customer = c.id "
        "WHERE amount BETWEEN 5 AND 9 AND c.name != 'x' GROUP BY c.city HAVING avg(amount) > 3 "
        "ORDER BY n DESC LIMIT 2"
    )
    assert explain(sql) == [
        "Read the rows of sale (called s).",
        "Put beside each the rows of customer (called c) for which s.customer is c.id.",
        "Keep those for which amount is from 5 to 9 and c.name is not 'x'.",
        "Put rows with the same c.city together.",
        "Keep the groups for which the average of amount is more than 3.",
        "Show c.city and the number of rows (called n).",
        "Sort by n, largest first.",
        "Stop after 2 rows.",
    ]
    assert explain("SELECT name FROM customer WHERE id IN (SELECT customer FROM sale)", "zh") == [
        "读取 customer 的各行。",
        "只留下 id 在 ［读取 sale 的各行。显示 customer。］ 之中的行。",
        "显示 name。",
    ]


def test_the_condition_that_empties_a_result_is_found(shop: Database):
    schema = shop.schema()
    found = emptiness.why_empty("SELECT name FROM customer WHERE city = 'paris' AND id < 30", shop, schema)
    assert found.n_unconditioned == 300
    assert [(each.left_out, each.n_rows) for each in found.without] == [
        ("city = 'paris'", 30),
        ("id < 30", 0),
    ]
    assert found.near == [("city", "paris", "Paris")]
    assert emptiness.in_words(found)[-1] == "city holds 'Paris', asked for is 'paris'"


def test_a_join_without_partners_and_a_group_that_none_reaches_are_found(shop: Database):
    schema = shop.schema()
    sql = "SELECT c.id FROM customer c JOIN sale s ON s.amount = c.name GROUP BY c.id HAVING count(*) > 1"
    found = emptiness.why_empty(sql, shop, schema)
    assert found.n_unconditioned == 0
    assert [(each.kind, each.n_rows) for each in found.without] == [("having", 0), ("join", 300)]
    assert "no single condition is to blame" in emptiness.in_words(found)[-1]
    many = emptiness.why_empty("SELECT city FROM customer GROUP BY city HAVING count(*) > 500", shop, schema)
    assert [(each.kind, each.n_rows) for each in many.without] == [("having", 3)]


def test_an_index_is_suggested_with_the_plan_before_and_after_and_the_file_stays_as_it_is(shop: Database):
    before = shop.path.read_bytes()
    found = advice.advise("SELECT count(*) FROM sale WHERE customer = 7", shop, shop.schema())
    assert found.before.plan == ["SCAN sale"]
    best = found.suggestions[0]
    assert best.sql == "CREATE INDEX sale_customer_index ON sale (customer)"
    assert "SEARCH sale USING" in best.after.plan[0]
    assert best.after.steps * 10 < found.before.steps
    assert best.after.n_rows == found.before.n_rows == 1
    assert shop.path.read_bytes() == before
    assert [each.name for each in shop.path.parent.iterdir()] == ["shop.db"]


def test_no_index_is_suggested_where_none_helps(shop: Database):
    found = advice.advise("SELECT name FROM customer WHERE id = 5", shop, shop.schema())
    assert found.suggestions == []


def test_a_change_is_shown_with_the_rows_that_it_would_touch_and_not_made(shop: Database):
    before, schema = shop.path.read_bytes(), shop.schema()
    found = propose("UPDATE customer SET city = upper(city), name = 'x' WHERE id < 2;", shop, schema)
    assert found.sql == "UPDATE customer SET city = upper(city), name = 'x' WHERE id < 2"
    assert found.n_touched == 2
    assert found.touched is not None
    assert found.touched.columns == ["id", "name", "city", "city → new", "name → new"]
    assert found.touched.rows[0] == [0, "c0", "Paris", "PARIS", "x"]
    assert propose("DELETE FROM sale", shop, schema).n_touched == 3000
    assert (
        propose("INSERT INTO customer (id, name) VALUES (1, 'a'), (2, lower('B'))", shop, schema).n_touched
        == 2
    )
    assert shop.path.read_bytes() == before


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("DELETE FROM nobody", "no table 'nobody'"),
        ("UPDATE customer SET town = 1", "no column 'town' in 'customer'"),
        ("DELETE FROM sale; DELETE FROM customer", "the end of the one statement"),
        ("DELETE FROM sale WHERE load_extension('x')", "not admitted"),
        ("UPDATE sale SET amount = nothing", "no column 'nothing'"),
        ("INSERT INTO sale (id) VALUES (1, 2)", "2 values for 1 columns"),
        ("INSERT INTO sale (id) VALUES ((SELECT 1))", "plain here"),
        ("DROP TABLE sale", "DELETE, UPDATE or INSERT is expected"),
    ],
)
def test_a_change_that_is_no_plain_one_is_refused(shop: Database, sql: str, message: str):
    with pytest.raises(SqlError, match=message):
        propose(sql, shop, shop.schema())


def test_only_statements_are_taken_for_changes():
    assert is_write("DELETE FROM t")
    assert is_write("delete from t")
    assert not is_write("delete all old customers")
    assert not is_write("SELECT 1")


def test_a_question_that_asks_for_a_deletion_becomes_one_only_with_a_condition():
    assert deletion(read("SELECT name FROM t WHERE x = 1").query) == "DELETE FROM t WHERE x = 1"
    for sql in ("SELECT name FROM t", "SELECT x FROM t, u WHERE 1", "SELECT x FROM t WHERE x LIMIT 1"):
        with pytest.raises(SqlError, match="propos"):
            deletion(read(sql).query)


def rows(columns: list[str], cells: list[list[str | int | float | None]]) -> Rows:
    return Rows("SELECT", columns, cells, False)


def test_names_with_numbers_are_bars_and_years_are_a_line():
    bars = charts.chart_of(rows(["city", "people"], [["北京", 20], ["Paris", 10]]))
    assert bars is not None
    assert bars.kind == "bars"
    assert charts.as_text(bars) == [" 北京 " + "█" * 40 + " 20", "Paris " + "█" * 20 + " 10"]
    line = charts.chart_of(rows(["year", "n"], [["2001", 1], ["2002", 9], ["2003", 5]]))
    assert line is not None
    assert line.kind == "line"
    assert charts.as_text(line)[0] == " █ "
    assert charts.as_text(line)[-1] == "2001 … 2003, from 1 to 9"


def test_what_no_chart_fits_has_none():
    for each in (
        rows(["n"], [[1], [2]]),
        rows(["a", "b"], [["x", "y"], ["z", "w"]]),
        rows(["a", "n"], [["x", 1]]),
        rows(["a", "n"], [["x", 1], ["x", 2]]),
        rows(["a", "n"], [["x", -1], ["y", 2]]),
    ):
        assert charts.chart_of(each) is None


def test_a_csv_file_is_read_as_a_table_with_types(tmp_path: Path):
    (tmp_path / "my sales.csv").write_text('\ufeffname;n;x\n李;1;2.5\n"a;b";02;\n', encoding="utf-8")
    with as_database(tmp_path / "my sales.csv") as path:
        database = Database(path, PATIENT)
        assert database.schema().describe() == '"my sales"(name TEXT, n TEXT, x REAL)'
        found = database.select('SELECT name, n, x FROM "my sales"').rows
    assert found == [["李", "1", 2.5], ["a;b", "02", None]]
    assert not path.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"a,b\n1\n", "row 2 has 1 cells; the first has 2"),
        (b"\xff\xfe1", "no UTF-8"),
        (b"a\0b\n", "zero byte"),
        (b",".join(b"x" for _ in range(300)), "300 columns; at most 200"),
    ],
)
def test_bad_csv_is_refused_with_the_reason(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(SqlError, match=message), as_database(path):
        pass


def test_hostile_cells_and_names_of_csv_files_stay_what_they_are(tmp_path: Path):
    import csv

    texts = [
        t
        for t in HOSTILE
        if t == whole_unicode(t)
        and "\0" not in t
        and not set("\r\n\x85\u2028\u2029\x1c\x1d\x1e\x0b\x0c") & set(t)
    ]
    for number, text in enumerate(texts[:40]):
        path = tmp_path / f"{number}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([[text, "n"], [text, "1"]])
        with as_database(path) as made:
            found = Database(made, PATIENT).select(f'SELECT * FROM "{number}"')
            assert [found.columns[0], found.rows[0][0]] == [text.strip() or "column 1", text]
            break
