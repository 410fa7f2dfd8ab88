"""Questions about any schema, made from patterns, with the SQL that answers them.

Public sets have few questions over several tables. These patterns say in some dozen ways, in English and in
Chinese, what people ask of every database: how many, which most, for each, more than, those that have none.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from danlu.tools.sql.database import Schema, Table
from danlu.tools.sql.linking import spoken
from danlu.tools.sql.tokens import quoted


@dataclass(frozen=True, slots=True)
class Made:
    """A question, its SQL with the joins left out, and the cells that it names: value, table, column."""

    question: str
    sql: str
    cells: Sequence[tuple[str, str, str]] = ()


class Subject:
    """A table to ask about, with columns drawn from it."""

    def __init__(self, table: Table, rng: random.Random, chinese: bool) -> None:
        self.table, self._rng, self._chinese = table, rng, chinese
        keys = {*table.primary_key, *(key[0] for key in table.foreign_keys)}
        plain = [name for name in table.columns if name not in keys] or list(table.columns)
        self._numbers = [name for name in plain if not is_text(table.columns[name])] or plain
        self._texts = [name for name in plain if is_text(table.columns[name])] or plain
        self._plain = plain

    @property
    def sql(self) -> str:
        return quoted(self.table.name)

    @property
    def one(self) -> str:
        return spoken(self.table.name)

    @property
    def many(self) -> str:
        return self.one if self._chinese else plural(self.one)

    def any(self) -> Drawn:
        return Drawn(self.table.name, self._rng.choice(self._plain))

    def text(self) -> Drawn:
        return Drawn(self.table.name, self._rng.choice(self._texts))

    def number(self) -> Drawn:
        return Drawn(self.table.name, self._rng.choice(self._numbers))


@dataclass(frozen=True, slots=True)
class Drawn:
    """A column in a question."""

    table: str
    name: str

    @property
    def sql(self) -> str:
        return f"{quoted(self.table)}.{quoted(self.name)}"

    @property
    def said(self) -> str:
        return spoken(self.name)


def is_text(kind: str) -> bool:
    return any(sign in kind.upper() for sign in ("CHAR", "TEXT", "CLOB", "OTHER"))


def plural(name: str) -> str:
    if name.endswith(("s", "people", "data", "staff")):
        return name
    return name[:-1] + "ies" if name.endswith("y") and name[-2:-1] not in tuple("aeiou") else name + "s"


def questions(schema: Schema, n: int, rng: random.Random, *, chinese: bool = False) -> list[Made]:
    """`n` questions about a schema."""
    tables = [table for table in schema.tables if len(table.columns) > 1]
    pairs = [
        (table, other)
        for table in tables
        for _, name, _ in table.foreign_keys
        for other in tables
        if other.name == name and other is not table
    ]
    made: list[Made] = []
    for _ in range(n):
        if pairs and rng.random() < 0.4:
            child, parent = (Subject(each, rng, chinese) for each in rng.choice(pairs))
            made.append(rng.choice(JOINED)(child, parent, Wording(rng, chinese)))
        elif tables:
            made.append(rng.choice(SINGLE)(Subject(rng.choice(tables), rng, chinese), Wording(rng, chinese)))
    return made


class Wording:
    """One of several ways to say a thing, in the language that is asked for."""

    def __init__(self, rng: random.Random, chinese: bool) -> None:
        self.rng, self.chinese = rng, chinese

    def say(self, english: Sequence[str], chinese: Sequence[str], **parts: str) -> str:
        return self.rng.choice(chinese if self.chinese else english).format(**parts)

    def value(self) -> str:
        return self.rng.choice(HAN_VALUES if self.chinese else VALUES)

    def amount(self) -> str:
        return str(self.rng.choice((2, 3, 5, 10, 18, 30, 50, 100, 250, 1000, 1999, 2014, 5000)))

    def comparison(self) -> tuple[str, str]:
        """Words and operator."""
        operator, english, chinese = self.rng.choice(COMPARISONS)
        return self.rng.choice(chinese if self.chinese else english), operator

    def aggregate(self) -> tuple[str, str]:
        function, english, chinese = self.rng.choice(AGGREGATES)
        return self.rng.choice(chinese if self.chinese else english), function

    def end(self) -> tuple[str, str]:
        """The largest or the smallest: words, and how to sort for it."""
        if self.rng.random() < 0.6:
            return self.rng.choice(("最大", "最高", "最多") if self.chinese else LARGEST), "DESC"
        return self.rng.choice(("最小", "最低", "最少") if self.chinese else SMALLEST), "ASC"


def condition(table: Subject, wording: Wording) -> tuple[str, str, list[tuple[str, str, str]]]:
    """Words for a condition, its SQL, and the cells in it."""
    if wording.rng.random() < 0.45:
        column, amount = table.number(), wording.amount()
        words, operator = wording.comparison()
        said = wording.say(
            ("{c} {w} {v}", "a {c} {w} {v}", "{c} {w} {v}"), ("{c}{w}{v}",), c=column.said, w=words, v=amount
        )
        return said, f"{column.sql} {operator} {amount}", []
    column, value = table.text(), wording.value()
    literal = "'" + value.replace("'", "''") + "'"
    draw = wording.rng.random()
    if draw < 0.1:
        said = wording.say(
            ("{c} containing {v}", "the word {v} in the {c}", "{c} that includes {v}"),
            ("{c}包含{v}", "{c}里有{v}"),
            c=column.said,
            v=value,
        )
        return said, f"{column.sql} LIKE '%{literal[1:-1]}%'", []
    cells = [(value, column.table, column.name)]
    if draw < 0.2:
        said = wording.say(
            ("{c} other than {v}", "{c} not {v}", "a {c} different from {v}"),
            ("{c}不是{v}", "{c}不为{v}"),
            c=column.said,
            v=value,
        )
        return said, f"{column.sql} != {literal}", cells
    said = wording.say(
        ("{c} {v}", "{c} equal to {v}", "the {c} {v}", "{v} as {c}", "{v} {c}"),
        ("{c}是{v}", "{c}为{v}", "{c}等于{v}"),
        c=column.said,
        v=value,
    )
    return said, f"{column.sql} = {literal}", cells


def count_all(t: Subject, w: Wording) -> Made:
    english = (
        "How many {m} are there?",
        "What is the number of {m}?",
        "Count the {m}.",
        "How many {m} do we have?",
    )
    return Made(
        w.say(english, ("有多少{m}？", "一共有多少个{m}？", "{m}有几个？", "{m}的总数是多少？"), m=t.many),
        f"SELECT COUNT(*) FROM {t.sql}",
    )


def count_some(t: Subject, w: Wording) -> Made:
    said, sql, cells = condition(t, w)
    english = ("How many {m} have {s}?", "Count the {m} with {s}.", "What is the number of {m} with {s}?")
    chinese = ("{s}的{m}有多少？", "有多少{m}的{s}？", "{s}的{m}有几个？")
    return Made(w.say(english, chinese, m=t.many, s=said), f"SELECT COUNT(*) FROM {t.sql} WHERE {sql}", cells)


def listing(t: Subject, w: Wording) -> Made:
    first, second = t.any(), t.any()
    if first == second or w.rng.random() < 0.5:
        english = (
            "List the {c} of all {m}.",
            "What are the {c} of the {m}?",
            "Show all {c}.",
            "Give me the {c} of every {t}.",
        )
        chinese = ("列出所有{m}的{c}。", "{m}的{c}是什么？", "显示全部{m}的{c}")
        return Made(
            w.say(english, chinese, c=first.said, m=t.many, t=t.one), f"SELECT {first.sql} FROM {t.sql}"
        )
    english = (
        "What are the {c} and {d} of all {m}?",
        "Show the {c} and {d} of each {t}.",
        "List {c} and {d} for all {m}.",
    )
    chinese = ("列出所有{m}的{c}和{d}。", "每个{t}的{c}和{d}是什么？")
    said = w.say(english, chinese, c=first.said, d=second.said, m=t.many, t=t.one)
    return Made(said, f"SELECT {first.sql}, {second.sql} FROM {t.sql}")


def distinct(t: Subject, w: Wording) -> Made:
    column = t.text()
    english = (
        "What are the different {c} of {m}?",
        "List all distinct {c} of the {m}.",
        "Show the unique {c}.",
        "Which different {c} do the {m} have?",
    )
    chinese = ("{m}有哪些不同的{c}？", "列出不重复的{c}。")
    return Made(
        w.say(english, chinese, c=column.said, m=t.many), f"SELECT DISTINCT {column.sql} FROM {t.sql}"
    )


def count_distinct(t: Subject, w: Wording) -> Made:
    column = t.text()
    english = ("How many different {c} do the {m} have?", "Count the number of distinct {c} of {m}.")
    chinese = ("{m}有多少种不同的{c}？",)
    return Made(
        w.say(english, chinese, c=column.said, m=t.many), f"SELECT COUNT(DISTINCT {column.sql}) FROM {t.sql}"
    )


def filtered(t: Subject, w: Wording) -> Made:
    column = t.any()
    said, sql, cells = condition(t, w)
    english = (
        "What is the {c} of the {t} with {s}?",
        "Show the {c} of {m} with {s}.",
        "List the {c} of all {m} that have {s}.",
        "Which {c} has {s}?",
        "Find the {c} of the {m} whose {s}.",
    )
    chinese = ("{s}的{m}的{c}是什么？", "列出{s}的{m}的{c}。", "{s}的{m}，{c}是多少？")
    return Made(
        w.say(english, chinese, c=column.said, t=t.one, m=t.many, s=said),
        f"SELECT {column.sql} FROM {t.sql} WHERE {sql}",
        cells,
    )


def twice_filtered(t: Subject, w: Wording) -> Made:
    column = t.any()
    said, sql, cells = condition(t, w)
    also, more, others = condition(t, w)
    both = w.rng.random() < 0.6
    english = ("Show the {c} of {m} with {s} and {a}.", "What are the {c} of {m} that have {s} and {a}?")
    either = ("Show the {c} of {m} with {s} or {a}.", "What are the {c} of {m} that have {s} or {a}?")
    chinese = ("{s}而且{a}的{m}的{c}是什么？", "列出{s}并且{a}的{m}的{c}。")
    han_either = ("{s}或者{a}的{m}的{c}是什么？", "列出{s}或{a}的{m}的{c}。")
    words = w.say(
        english if both else either,
        chinese if both else han_either,
        c=column.said,
        m=t.many,
        s=said,
        a=also,
    )
    joined = "AND" if both else "OR"
    return Made(words, f"SELECT {column.sql} FROM {t.sql} WHERE {sql} {joined} {more}", [*cells, *others])


def aggregated(t: Subject, w: Wording) -> Made:
    column = t.number()
    words, function = w.aggregate()
    if w.rng.random() < 0.5:
        english = ("What is the {a} {c} of all {m}?", "Find the {a} {c} of the {m}.", "Show the {a} {c}.")
        chinese = ("{m}的{a}{c}是多少？", "所有{m}的{c}的{a}值是多少？")
        return Made(
            w.say(english, chinese, a=words, c=column.said, m=t.many),
            f"SELECT {function}({column.sql}) FROM {t.sql}",
        )
    said, sql, cells = condition(t, w)
    english = ("What is the {a} {c} of the {m} with {s}?", "Find the {a} {c} for {m} with {s}.")
    chinese = ("{s}的{m}的{a}{c}是多少？",)
    return Made(
        w.say(english, chinese, a=words, c=column.said, m=t.many, s=said),
        f"SELECT {function}({column.sql}) FROM {t.sql} WHERE {sql}",
        cells,
    )


def ordered(t: Subject, w: Wording) -> Made:
    column, by = t.any(), t.any()
    falling = w.rng.random() < 0.5
    how = w.rng.choice(FALLING if falling else RISING)
    han = "从高到低" if falling else "从低到高"
    english = (
        "List the {c} of {m} sorted by {b} {h}.",
        "What are the {c} of all {m} ordered by {b} {h}?",
        "Show the {c} of {m} in {b} order {h}.",
    )
    chinese = ("按{b}{z}列出{m}的{c}。", "{m}的{c}，按{b}{z}排列")
    said = w.say(english, chinese, c=column.said, m=t.many, b=by.said, h=how, z=han)
    return Made(
        said.replace(" .", "."), f"SELECT {column.sql} FROM {t.sql} ORDER BY {by.sql}{' DESC' * falling}"
    )


def extreme(t: Subject, w: Wording) -> Made:
    column, by = t.any(), t.number()
    words, how = w.end()
    if w.rng.random() < 0.25:
        amount = w.rng.choice(("3", "5", "10"))
        english = (
            "Show the {c} of the {n} {m} with the {e} {b}.",
            "List the {c} of the top {n} {m} by {e} {b}.",
        )
        chinese = ("{b}{e}的{n}个{m}的{c}是什么？",)
    else:
        amount = "1"
        english = (
            "What is the {c} of the {t} with the {e} {b}?",
            "Which {t} has the {e} {b}? Show its {c}.",
            "Find the {c} of the {t} with {e} {b}.",
        )
        chinese = ("{b}{e}的{m}的{c}是什么？", "哪个{m}的{b}{e}？给出{c}。")
    said = w.say(english, chinese, c=column.said, t=t.one, m=t.many, e=words, b=by.said, n=amount)
    falling = " DESC" * (how == "DESC")
    return Made(said, f"SELECT {column.sql} FROM {t.sql} ORDER BY {by.sql}{falling} LIMIT {amount}")


def counted_by(t: Subject, w: Wording) -> Made:
    column = t.text()
    english = (
        "How many {m} are there for each {c}?",
        "Show each {c} and the number of {m}.",
        "Count the {m} by {c}.",
        "What is the number of {m} of each {c}?",
    )
    chinese = ("每个{c}各有多少{m}？", "按{c}统计{m}的数量。", "各{c}的{m}数是多少？")
    return Made(
        w.say(english, chinese, c=column.said, m=t.many),
        f"SELECT {column.sql}, COUNT(*) FROM {t.sql} GROUP BY {column.sql}",
    )


def aggregated_by(t: Subject, w: Wording) -> Made:
    column, of = t.text(), t.number()
    words, function = w.aggregate()
    english = (
        "What is the {a} {o} for each {c}?",
        "Show the {c} and the {a} {o} of the {m} of each {c}.",
        "Find the {a} {o} of {m} by {c}.",
    )
    chinese = ("每个{c}的{a}{o}是多少？", "按{c}统计{a}{o}。")
    return Made(
        w.say(english, chinese, c=column.said, o=of.said, a=words, m=t.many),
        f"SELECT {column.sql}, {function}({of.sql}) FROM {t.sql} GROUP BY {column.sql}",
    )


def commonest(t: Subject, w: Wording) -> Made:
    column = t.text()
    most = w.rng.random() < 0.7
    english = (
        "What is the most common {c} of {m}?",
        "Which {c} has the most {m}?",
        "Find the {c} with the largest number of {m}.",
    )
    fewest = ("What is the least common {c} of {m}?", "Which {c} has the fewest {m}?")
    chinese, han_fewest = ("哪个{c}的{m}最多？", "{m}最常见的{c}是什么？"), ("哪个{c}的{m}最少？",)
    said = w.say(english if most else fewest, chinese if most else han_fewest, c=column.said, m=t.many)
    return Made(
        said,
        f"SELECT {column.sql} FROM {t.sql} GROUP BY {column.sql} ORDER BY COUNT(*){' DESC' * most} LIMIT 1",
    )


def having(t: Subject, w: Wording) -> Made:
    column, amount = t.text(), w.rng.choice(("2", "3", "5"))
    operator, english_words, han_words = w.rng.choice(
        ((">", "more than", "超过"), (">=", "at least", "至少有"), ("<", "fewer than", "少于"))
    )
    english = (
        "Which {c} have {o} {n} {m}?",
        "Find the {c} that has {o} {n} {m}.",
        "What are the {c} with {o} {n} {m}?",
    )
    chinese = ("哪些{c}的{m}{z}{n}个？",)
    said = w.say(english, chinese, c=column.said, o=english_words, z=han_words, n=amount, m=t.many)
    return Made(
        said, f"SELECT {column.sql} FROM {t.sql} GROUP BY {column.sql} HAVING COUNT(*) {operator} {amount}"
    )


def above_average(t: Subject, w: Wording) -> Made:
    column, of = t.any(), t.number()
    over = w.rng.random() < 0.6
    english = (
        "Show the {c} of {m} whose {o} is {w} average.",
        "Which {m} have {o} {w} the average? Give the {c}.",
    )
    chinese = ("{o}{z}平均值的{m}的{c}是什么？",)
    said = w.say(
        english,
        chinese,
        c=column.said,
        m=t.many,
        o=of.said,
        w="above" if over else "below",
        z="高于" if over else "低于",
    )
    operator = ">" if over else "<"
    inner = f"(SELECT AVG({of.sql}) FROM {t.sql})"
    return Made(said, f"SELECT {column.sql} FROM {t.sql} WHERE {of.sql} {operator} {inner}")


def between(t: Subject, w: Wording) -> Made:
    column, of = t.any(), t.number()
    low, high = sorted(w.rng.sample((5, 10, 50, 100, 500, 1990, 2010, 3000), 2))
    english = (
        "What are the {c} of {m} with {o} between {x} and {y}?",
        "List the {c} of {m} whose {o} is from {x} to {y}.",
    )
    chinese = ("{o}在{x}到{y}之间的{m}的{c}是什么？",)
    return Made(
        w.say(english, chinese, c=column.said, m=t.many, o=of.said, x=str(low), y=str(high)),
        f"SELECT {column.sql} FROM {t.sql} WHERE {of.sql} BETWEEN {low} AND {high}",
    )


def both_sides(a: Subject, b: Subject, w: Wording) -> Made:
    mine, theirs = a.any(), b.any()
    english = (
        "Show the {c} of each {a} and the {d} of its {b}.",
        "What are the {c} of {m} and the {d} of the {b} they belong to?",
        "List {a} {c} and {b} {d}.",
    )
    chinese = ("每个{a}的{c}和它的{b}的{d}是什么？", "列出{a}的{c}以及{b}的{d}。")
    said = w.say(english, chinese, a=a.one, m=a.many, b=b.one, c=mine.said, d=theirs.said)
    return Made(said, f"SELECT {mine.sql}, {theirs.sql} FROM {a.sql}, {b.sql}")


def filtered_by_other(a: Subject, b: Subject, w: Wording) -> Made:
    child = w.rng.random() < 0.5
    asked, other = (a, b) if child else (b, a)
    column = asked.any()
    said, sql, cells = condition(other, w)
    english = (
        "What are the {c} of {m} of the {o} with {s}?",
        "List the {c} of the {m} whose {o} has {s}.",
        "Show the {c} of {m} that have a {o} with {s}.",
    )
    chinese = ("{o}的{s}的{m}的{c}是什么？", "列出{s}的{o}的{m}的{c}。")
    return Made(
        w.say(english, chinese, c=column.said, m=asked.many, o=other.one, s=said),
        f"SELECT {column.sql} FROM {a.sql}, {b.sql} WHERE {sql}",
        cells,
    )


def counted_by_other(a: Subject, b: Subject, w: Wording) -> Made:
    column = b.text()
    key = key_of(b)
    kind = w.rng.random()
    if kind < 0.5:
        english = (
            "How many {m} does each {b} have? Show the {c}.",
            "Show the {c} of each {b} and the number of {m}.",
            "For each {b}, show its {c} and how many {m} it has.",
        )
        chinese = ("每个{b}有多少{m}？列出{c}。", "各{b}的{c}和{m}的数量是多少？")
        said = w.say(english, chinese, m=a.many, b=b.one, c=column.said)
        return Made(said, f"SELECT {column.sql}, COUNT(*) FROM {a.sql}, {b.sql} GROUP BY {key}")
    if kind < 0.8:
        english = (
            "Which {b} has the most {m}? Show its {c}.",
            "What is the {c} of the {b} with the most {m}?",
            "Find the {c} of the {b} that has the largest number of {m}.",
        )
        chinese = ("{m}最多的{b}的{c}是什么？", "哪个{b}的{m}最多？给出{c}。")
        said = w.say(english, chinese, m=a.many, b=b.one, c=column.said)
        ranked = f"GROUP BY {key} ORDER BY COUNT(*) DESC LIMIT 1"
        return Made(said, f"SELECT {column.sql} FROM {a.sql}, {b.sql} {ranked}")
    amount = w.rng.choice(("2", "3", "5"))
    english = (
        "Which {p} have at least {n} {m}? List the {c}.",
        "Show the {c} of the {p} with at least {n} {m}.",
    )
    chinese = ("至少有{n}个{m}的{b}的{c}是什么？",)
    said = w.say(english, chinese, m=a.many, p=b.many, b=b.one, c=column.said, n=amount)
    grouped = f"GROUP BY {key} HAVING COUNT(*) >= {amount}"
    return Made(said, f"SELECT {column.sql} FROM {a.sql}, {b.sql} {grouped}")


def those_without(a: Subject, b: Subject, w: Wording) -> Made:
    column = b.any()
    mine, _, theirs = next(key for key in a.table.foreign_keys if key[1] == b.table.name)
    english = (
        "Show the {c} of the {p} that have no {m}.",
        "What are the {c} of {p} without any {m}?",
        "Which {p} do not have any {m}? List the {c}.",
    )
    chinese = ("没有{m}的{b}的{c}是什么？", "哪些{b}没有{m}？列出{c}。")
    key = f"{b.sql}.{quoted(theirs)}" if theirs else key_of(b)
    inner = f"(SELECT {a.sql}.{quoted(mine)} FROM {a.sql})"
    return Made(
        w.say(english, chinese, c=column.said, p=b.many, b=b.one, m=a.many),
        f"SELECT {column.sql} FROM {b.sql} WHERE {key} NOT IN {inner}",
    )


def key_of(table: Subject) -> str:
    key = (table.table.primary_key or list(table.table.columns))[0]
    return f"{table.sql}.{quoted(key)}"


Single = Callable[[Subject, Wording], Made]
Joined = Callable[[Subject, Subject, Wording], Made]
SINGLE: tuple[Single, ...] = (
    *(count_all, count_some, listing, distinct, count_distinct, filtered, filtered, twice_filtered),
    *(aggregated, ordered, extreme, counted_by, aggregated_by, commonest, having, above_average, between),
)
JOINED: tuple[Joined, ...] = (
    both_sides,
    filtered_by_other,
    filtered_by_other,
    counted_by_other,
    those_without,
)
COMPARISONS = (
    (
        ">",
        ("greater than", "more than", "above", "over", "larger than", "higher than"),
        ("大于", "超过", "高于", "多于"),
    ),
    ("<", ("less than", "below", "under", "smaller than", "lower than"), ("小于", "低于", "少于", "不到")),
    (">=", ("at least", "no less than", "or more than"), ("不小于", "至少为", "不低于")),
    ("<=", ("at most", "no more than"), ("不超过", "最多为", "不大于")),
    ("=", ("equal to", "of", "exactly"), ("等于", "是")),
)
AGGREGATES = (
    ("AVG", ("average", "mean"), ("平均",)),
    ("SUM", ("total", "sum of"), ("总", "合计")),
    ("MAX", ("maximum", "highest", "largest"), ("最大", "最高")),
    ("MIN", ("minimum", "lowest", "smallest"), ("最小", "最低")),
)
LARGEST = ("highest", "largest", "greatest", "most", "maximum")
SMALLEST = ("lowest", "smallest", "least", "minimum", "fewest")
FALLING = ("in descending order", "from high to low", "descending", "from largest to smallest")
RISING = ("in ascending order", "from low to high", "ascending", "")
VALUES = (
    *("Paris", "New York", "John Smith", "Anna", "red", "Sales", "France", "Canada", "A", "F", "Oak Street"),
    *("Toyota", "Computer Science", "active", "The Great Day", "Lisa Ray", "USA", "cat", "dog", "Monday"),
    *("gold", "Blue River", "Dr. Lee", "O'Neil", "B-17", "VIP", "jazz", "Math", "Texas", "yes", "completed"),
)
HAN_VALUES = (
    "北京",
    "上海",
    "张伟",
    "李娜",
    "销售部",
    "红色",
    "中国",
    "数学",
    "语文",
    "男",
    "女",
    "已完成",
    "手机",
    "华为",
    "周杰伦",
    "广东",
    "苹果",
    "四川省",
)
