"""Text to SQL: a small model trained from nothing on public questions, and how often it is right.

    python bench/text_to_sql.py DATA OUT                 all steps; a step that is done is not done again
    python bench/text_to_sql.py DATA OUT steps=test      one of make, pretrain, train, test
    python bench/text_to_sql.py DATA OUT minutes=25      of training in all
    python bench/text_to_sql.py DATA OUT classic=FOLDER  of GeoQuery and Restaurants (else DATA/../data-nc)

WikiSQL is split by table as its authors did; its logical form counts. Spider's open part has questions for
17 databases: 9 are learnt from, 2 tuned on, 6 tested on, none of whose schemas was seen. GeoQuery is split as
usual by question; of Restaurants' ten parts 0 to 5 are learnt from, 6 is tuned on, 7 to 9 are tested on. On
these the rows that come back count, and only questions whose own SQL gives any are asked.
"""

from __future__ import annotations

import gzip
import json
import math
import random
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from schema_questions import questions

from danlu.model.heads import LanguageModel
from danlu.recipes.data import tokenize
from danlu.recipes.speaker import Speaker, load_speaker
from danlu.recipes.sql_model import SqlModel
from danlu.tools.error import ToolError
from danlu.tools.sql.asking import found_cells
from danlu.tools.sql.database import Database, Schema, SqlLimits, Table
from danlu.tools.sql.linking import (
    COLUMN_CODES,
    TABLE_CODES,
    WORD_CODES,
    CellLink,
    Codes,
    ColumnRef,
    Linked,
    chosen_cells,
    link,
    prompt,
    sequential,
    spoken,
)
from danlu.tools.sql.sketch import sql_of
from danlu.tools.sql.sketching import place_of, sketch_of
from danlu.tools.sql.syntax import read
from danlu.tools.sql.tokens import SqlError, quoted
from danlu.tools.sql.tree import Binary, Call, Expression, Literal, Name, Query, conditions
from danlu.tools.visible import visible

LIMITS = SqlLimits(wall_s=120, rows=5000, answer_bytes=2_000_000)
Lesson = tuple[str, str, str]  # what is asked, what is recited of it, the sketch
Held = dict[str, list[tuple[str, str, str]]]
RECITED = 16  # names and words of a prompt
STEPS = ("make", "pretrain", "train", "test")
SHAPE = ["model.d_model=192", "model.n_layers=6", "model.d_ff=512", "model.max_seq_len=768"]
CHINESE = {
    "学生": "学号 姓名 年龄# 班级 城市 成绩#",
    "课程": "课程号 名称 学分# 教师 学期",
    "员工": "工号 姓名 职位 工资# 入职年份# 部门号",
    "部门": "部门号 名称 地点 预算#",
    "商品": "商品号 名称 类别 价格# 库存#",
    "订单": "订单号 客户号 商品号 金额# 状态 日期",
    "客户": "客户号 姓名 城市 等级 积分#",
    "电影": "片名 导演 年份# 票房# 类型 评分#",
    "城市": "名称 省份 人口# 面积# 国家",
    "图书": "书名 作者 出版社 价格# 页数#",
    "球队": "名称 城市 教练 胜场# 积分#",
    "歌曲": "歌名 歌手 专辑 时长# 语言 播放量#",
}


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its SQL, and the schema it is about."""

    text: str
    sql: str
    schema: Schema
    cells: Sequence[CellLink] = ()
    path: Path | None = None  # of the database


@dataclass(slots=True)
class Sets:
    """Questions by what they are for."""

    train: dict[str, list[Question]] = field(default_factory=dict[str, list[Question]])
    dev: dict[str, list[Question]] = field(default_factory=dict[str, list[Question]])
    test: dict[str, list[Question]] = field(default_factory=dict[str, list[Question]])

    def add(self, part: str, name: str, question: Question) -> None:
        getattr(self, part).setdefault(name, []).append(question)


def main() -> None:
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    settings = dict(word.split("=", 1) for word in sys.argv[3:])
    classic = Path(settings.get("classic", data.parent / "data-nc")) / "sql_classic"
    minutes = float(settings.get("minutes", 25))
    out.mkdir(parents=True, exist_ok=True)
    steps = settings.get("steps", ",".join(STEPS)).split(",")
    sets = everything(data, classic)
    if "make" in steps and not (out / "chats.jsonl").exists():
        sets.train["patterns"] = list(patterns(data / "sql_spider"))
        make(sets, out)
    if "pretrain" in steps:
        pretrain(out, minutes / 5)
    if "train" in steps:
        danlu(
            *f"sft base={out}/base/model data={out}/chats.jsonl out={out}/sft n_epochs=40".split(),
            *f"minutes={minutes * 4 / 5} seq_len=768 batch_size=6 too_long=drop optim.lr=3e-3".split(),
            "schedule.decay_fraction=0.4",
            *f"held_out={out}/dev.jsonl eval_every=200 sample_prompts=[]".split(),
        )
    if "test" in steps:
        n = int(settings.get("n", 2000))
        test(sets, out, settings.get("part", "test"), n)


def danlu(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "danlu", *words], check=True)


# What is asked


def everything(data: Path, classic: Path) -> Sets:
    sets = Sets()
    for part, question in wikisql(data / "sql_wikisql"):
        sets.add(part, "WikiSQL", question)
    for part, question in spider(data / "sql_spider"):
        sets.add(part, "Spider", question)
    if classic.is_dir():
        for name in ("geography", "restaurants"):
            for part, question in rows_of(classic, name):
                sets.add(part, {"geography": "GeoQuery", "restaurants": "Restaurants"}[name], question)
    return sets


def records(path: Path) -> Iterator[dict[str, Any]]:
    path = path if path.exists() else path.with_name(path.name + ".gz")
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open() as file:
        yield from map(json.loads, file)


def wikisql(folder: Path) -> Iterator[tuple[str, Question]]:
    for row in records(folder / "open.jsonl"):
        schema = Schema([Table("t", dict.fromkeys(row["columns"], ""), (), ())])
        yield row["split"], Question(row["question"], row["sql"], schema)


def spider(folder: Path) -> Iterator[tuple[str, Question]]:
    rows = list(records(folder / "open.dev.jsonl"))
    names = sorted({row["db_id"] for row in rows})
    parts = dict(zip(names, ("train", "test", "train", "test", "train", "dev") * 3, strict=False))
    paths = {name: folder / "db" / f"{name}.sqlite" for name in names}
    schemas = {name: Database(path, LIMITS).schema() for name, path in paths.items()}
    held = {name: cells_held(paths[name], schemas[name]) for name in names}
    for row in rows:
        name = row["db_id"]
        yield parts[name], asked(row["question"], row["query"], paths[name], schemas[name], held[name])


def rows_of(folder: Path, name: str) -> Iterator[tuple[str, Question]]:
    path = folder / "db" / f"{name}.sqlite"
    schema = Database(path, LIMITS).schema()
    held = cells_held(path, schema)
    numbered = {
        **{part: part for part in ("train", "dev", "test")},
        **dict.fromkeys("012345", "train"),
        "6": "dev",
        **dict.fromkeys("789", "test"),
    }
    for row in records(folder / f"open.{name}.jsonl"):
        sql = row["sql"]
        if name == "restaurants":  # the statements call the key ID, the database RESTAURANT_ID
            sql = sql.replace("alias0.ID", "alias0.RESTAURANT_ID").replace(
                "alias1.ID", "alias1.RESTAURANT_ID"
            )
        yield numbered[row["split"]], asked(row["question"], sql, path, schema, held)


def asked(text: str, sql: str, path: Path, schema: Schema, held: Held) -> Question:
    look_up = partial(held_in, held)
    return Question(text, sql, schema, found_cells(text, schema, look_up), path)


def cells_held(path: Path, schema: Schema) -> Held:
    """All texts of a database in lower case; the tool looks up those of one question, in a process."""
    held: Held = {}
    connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    connection.text_factory = lambda raw: raw.decode("utf-8", errors="replace")
    for table in schema.tables:
        for column in table.columns:
            distinct = f"select distinct {quoted(column)} from {quoted(table.name)}"
            for (cell,) in connection.execute(distinct):
                if isinstance(cell, str):
                    held.setdefault(cell.lower(), []).append((table.name, column, cell))
    connection.close()
    return held


def held_in(held: Held, phrases: Sequence[str]) -> list[tuple[str, str, str]]:
    return [each for phrase in phrases for each in held.get(phrase, ())]


def patterns(folder: Path) -> Iterator[Question]:
    """Questions from patterns, over Spider's schemas that no question is asked about, and Chinese ones."""
    rng = random.Random(1)
    used = {row["db_id"] for row in records(folder / "open.dev.jsonl")}
    schemas = [schema_of(row) for row in records(folder / "open.schemas.jsonl") if row["db_id"] not in used]
    made = [(each, False) for each in schemas] + [(chinese(rng), True) for _ in range(60)]
    for schema, is_chinese in made:
        for each in questions(schema, 120 if is_chinese else 130, rng, chinese=is_chinese):
            yield Question(each.question, each.sql, schema, cells_of(each.question, each.cells, schema))


def schema_of(row: dict[str, Any]) -> Schema:
    keys = dict(row["primary_keys"])
    return Schema(
        [
            Table(
                table["name"],
                dict(table["columns"]),
                [keys[table["name"]]] if table["name"] in keys else [],
                [(key[1], key[2], key[3]) for key in row["foreign_keys"] if key[0] == table["name"]],
            )
            for table in row["tables"]
        ]
    )


def chinese(rng: random.Random) -> Schema:
    tables = [
        Table(
            name,
            {
                column.rstrip("#"): "number" if column.endswith("#") else "text"
                for column in CHINESE[name].split()
            },
            [CHINESE[name].split()[0]],
            [
                (key, other, key)
                for key, other in (("部门号", "部门"), ("客户号", "客户"), ("商品号", "商品"))
                if key in CHINESE[name] and name != other
            ],
        )
        for name in rng.sample(sorted(CHINESE), rng.randint(2, 6))
    ]
    names = {table.name for table in tables}
    return Schema(
        [
            Table(t.name, t.columns, t.primary_key, [key for key in t.foreign_keys if key[1] in names])
            for t in tables
        ]
    )


def cells_of(question: str, cells: Iterable[tuple[str, str, str]], schema: Schema) -> list[CellLink]:
    """Links as a database with these cells would give them."""
    linked = link(question, schema)
    found: list[CellLink] = []
    for value, table, column in cells:
        place = place_of(value, linked)
        ref = next((each for each in linked.columns if (each.table, each.name) == (table, column)), None)
        if place and ref:
            found.append(CellLink(*place, ref, value))
    return found


# What is learnt


def make(sets: Sets, out: Path) -> None:
    """Chats to learn from, texts for the vocabulary and for the base model, and how many questions fit."""
    rng = random.Random(0)
    copies = {"WikiSQL": 2, "Spider": 12, "patterns": 1, "GeoQuery": 20, "Restaurants": 15}
    chats: list[Lesson] = []
    for name, found in sets.train.items():
        fates = Counter[str]()
        for question in found:
            fates[fate(question, rng, copies[name], chats)] += 1
        print(f"{name}: {dict(fates.most_common(6))}", flush=True)
    rng.shuffle(chats)
    held_out = list[Lesson]()
    for found in sets.dev.values():
        for question in rng.sample(found, min(150, len(found))):
            fate(question, rng, 1, held_out)
    for path, lessons in ((out / "chats.jsonl", chats), (out / "dev.jsonl", held_out)):
        path.write_text("".join(map(as_chat, lessons)), encoding="utf-8")
    texts = out / "texts"
    texts.mkdir(exist_ok=True)
    for path, lessons in ((texts / "train.jsonl", chats[::2]), (texts / "held_out.jsonl", held_out)):
        lines = (json.dumps({"text": "\n".join(each)}, ensure_ascii=False) + "\n" for each in lessons)
        path.write_text("".join(lines), encoding="utf-8")


def fate(question: Question, rng: random.Random, n: int, chats: list[Lesson]) -> str:
    """Write a question down as chats; why it cannot be, if it cannot."""
    try:
        query = read(question.sql.rstrip().rstrip(";")).query
        for copy in range(n):
            linked = link(question.text, question.schema, question.cells)
            if not question.cells and copy % 2:  # as if the table had rows
                linked = link(question.text, question.schema, gold_cells(query, linked))
            codes = sequential(linked) if rng.random() < 0.4 else shifted(linked, rng)
            chats.append(
                (prompt(linked, codes), recital(linked, codes, rng), sketch_of(query, linked, codes))
            )
    except SqlError as error:
        return str(error)[:60]
    return "learnt"


def gold_cells(query: Query, linked: Linked) -> list[CellLink]:
    found: list[CellLink] = []
    for part in conditions(query.selects[0].where):
        match part:
            case Binary("=", Name(_, name), Literal() as value) if place := place_of(value.value, linked):
                refs = [each for each in linked.columns if each.name == name]
                found += [CellLink(*place, ref, value.value) for ref in refs]
            case _:
                pass
    return chosen_cells(found)


def shifted(linked: Linked, rng: random.Random) -> Codes:
    """Codes that begin anywhere, so that late ones are learnt like early ones."""

    def start(room: int, n: int) -> int:
        return rng.randint(0, room - n)

    first = start(len(COLUMN_CODES), len(linked.columns))
    words = start(len(WORD_CODES), len(linked.words))
    tables = start(len(TABLE_CODES), len(linked.tables))
    return Codes(
        WORD_CODES[words : words + len(linked.words)],
        dict(zip([table.name for table in linked.tables], TABLE_CODES[tables:], strict=False)),
        dict(zip(linked.columns, COLUMN_CODES[first:], strict=False)),
    )


def recital(linked: Linked, codes: Codes, rng: random.Random) -> str:
    """Names and words of a prompt once more, in another order, each with its code.

    For the base model only: at every code it has to look up what stood before it, which is what sketches ask.
    """
    items = [(spoken(column.name), code) for column, code in codes.columns.items()]
    items += [(visible(word.text), code) for word, code in zip(linked.words, codes.words, strict=True)]
    return " ".join(f"{name} {code}" for name, code in rng.sample(items, min(len(items), RECITED)))


def as_chat(lesson: Lesson) -> str:
    asked, _, sketch = lesson
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": sketch}]
    return json.dumps({"messages": turns}, ensure_ascii=False) + "\n"


def pretrain(out: Path, minutes: float) -> None:
    if not (out / "tokenizer" / "tokenizer.json").exists():
        danlu(*f"tokenizer texts={out}/texts out={out}/tokenizer vocab_size=4096 max_bytes=4000000".split())
    if not (out / "shards").exists():
        tokenize(out / "texts", out / "tokenizer", out / "shards")
    danlu(
        *f"pretrain tokenizer={out}/tokenizer shards={out}/shards out={out}/base minutes={minutes}".split(),
        *["batch_size=12", "seq_len=384", "optim.lr=4e-3", "sample_prompts=[]"],
        *SHAPE,
    )


# How often it is right


def test(sets: Sets, out: Path, part: str, n: int) -> None:
    trained = load_speaker(out / "sft")
    empty = Speaker(LanguageModel(trained.model.config).eval(), trained.chat)
    parts: dict[str, list[Question]] = getattr(sets, part)
    results: dict[str, dict[str, str]] = {}
    for name, found in parts.items():
        chosen = random.Random(2).sample(found, min(n, len(found)))
        judge = LogicalForm() if name == "WikiSQL" else RowsAlike(chosen)
        chosen = [each for each in chosen if judge.is_asked(each)]
        linked = [link(each.text, each.schema, each.cells) for each in chosen]
        results[name] = {
            "model": judged(judge, chosen, linked, SqlModel(trained).sketches(linked)),
            "grammar alone": judged(judge, chosen, linked, SqlModel(empty).sketches(linked)),
            "rule": judged(judge, chosen, linked, [guess(each) for each in linked]),
        }
        print(name, json.dumps(results[name], indent=2), flush=True)
    (out / f"{part}.json").write_text(json.dumps(results, indent=2), encoding="utf-8")


def judged(
    judge: LogicalForm | RowsAlike,
    asked: Sequence[Question],
    linked: Sequence[Linked],
    sketches: Sequence[str],
) -> str:
    right = 0
    for question, each, sketch in zip(asked, linked, sketches, strict=True):
        try:
            sql = sql_of(sketch, each, sequential(each), question.schema) if sketch else ""
        except ToolError:
            sql = ""
        right += bool(sql) and judge.is_right(question, sql)
    return share(right, len(asked))


class LogicalForm:
    """The same aggregate of the same column under the same conditions, in whatever order and case."""

    def is_asked(self, question: Question) -> bool:
        return True

    def is_right(self, question: Question, sql: str) -> bool:
        return logical_form(read(sql).query) == logical_form(read(question.sql).query)


def logical_form(query: Query) -> tuple[object, ...]:
    select = query.selects[0]
    item = select.items[0].expression
    plain = not (query.operators or query.order or select.group or select.distinct or len(select.items) > 1)
    return plain, said(item), frozenset(said(part) for part in conditions(select.where))


def said(node: Expression) -> object:
    match node:
        case Name(_, name):
            return name
        case Call(function, arguments):
            return function.upper(), *map(said, arguments)
        case Binary("COLLATE", left):
            return said(left)
        case Binary(operator, left, right):
            return operator, said(left), said(right)
        case Literal():
            return number_or_text(node.value)
        case _:
            return node


def number_or_text(value: str) -> object:
    try:
        return float(value.replace(",", ""))
    except ValueError:
        return value.strip().lower()


class RowsAlike:
    """The same rows; in the same order where the question's own SQL orders them."""

    def __init__(self, asked: Sequence[Question]) -> None:
        self._gold = {id(each): self._rows(each) for each in asked}

    def is_asked(self, question: Question) -> bool:
        return bool(self._gold[id(question)])

    def is_right(self, question: Question, sql: str) -> bool:
        assert question.path is not None
        try:
            found = Database(question.path, LIMITS).select(sql, question.schema).rows
        except ToolError:
            return False
        theirs, ours = self._gold[id(question)], [tuple(map(str, row)) for row in found]
        ordered = "ORDER BY" in question.sql.upper()
        return ours == theirs if ordered else Counter(ours) == Counter(theirs)

    @staticmethod
    def _rows(question: Question) -> list[tuple[str, ...]]:
        assert question.path is not None
        connection = sqlite3.connect(f"file:{question.path}?mode=ro&immutable=1", uri=True)
        connection.text_factory = lambda raw: raw.decode("utf-8", errors="replace")
        try:
            return [tuple(map(str, row)) for row in connection.execute(question.sql).fetchall()]
        except sqlite3.Error:
            return []
        finally:
            connection.close()


def guess(linked: Linked) -> str:
    """What needs no model: the first column that is named, where the cells that are named stand."""
    codes = sequential(linked)
    named = [what for _, found in sorted(linked.names.items()) for _, what in found]
    columns = [what for what in named if isinstance(what, ColumnRef)] or list(linked.columns)
    first = columns[0]
    tables = [what for what in named if isinstance(what, str)]
    how_many = linked.question.lower().startswith(("how many", "count", "what is the number"))
    table = (tables or [first.table])[0] if how_many else first.table
    item = "COUNT ( * )" if how_many else codes.columns[first]
    held = [
        f"{codes.columns[cell.column]} = {codes.words[cell.first]} {codes.words[cell.last]}"
        for cell in linked.cells
        if cell.column.table == table
    ]
    where = f" WHERE {' AND '.join(held)}" if held else ""
    return f"SELECT {item} FROM {codes.tables[table]}{where}"


def share(count: int, n: int) -> str:
    """A proportion with Wilson's 95 % interval."""
    p, z = count / n, 1.96
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
    return f"{100 * p:.1f} % [{100 * max(low, 0):.1f}, {100 * high:.1f}] of {n}"


if __name__ == "__main__":
    main()
