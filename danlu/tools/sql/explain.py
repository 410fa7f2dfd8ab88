"""A SELECT in plain words, step by step in the order in which it happens; from its tree, without a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import singledispatchmethod
from typing import Literal as Choice

from danlu.tools.sql.render import expression
from danlu.tools.sql.syntax import read
from danlu.tools.sql.tree import (
    Between,
    Binary,
    Call,
    Case,
    Cast,
    Expression,
    Group,
    Literal,
    Name,
    Nested,
    Ordering,
    Query,
    Select,
    Source,
    Star,
    Unary,
)
from danlu.tools.visible import one_line

Language = Choice["en", "zh"]


def explain(sql: str, language: Language = "en") -> list[str]:
    """The steps of a statement, one a line; steps of a query inside another are indented below it."""
    steps = _Words(language).query(read(sql).query)
    return [" " * (len(step) - len(step.lstrip())) + one_line(step, 600) for step in steps]


class _Words:
    """One language."""

    def __init__(self, language: Language) -> None:
        self._say = PHRASES[language]
        self._functions = FUNCTIONS[language]
        self._operators = OPERATORS[language]

    def query(self, query: Query) -> Iterator[str]:
        for common in query.commons:
            yield self._say["common"].format(name=common.name)
            yield from self._inner(common.query)
        for number, select in enumerate(query.selects):
            if number:
                yield self._say[query.operators[number - 1]]
            yield from self._select(select)
        if query.order:
            keys = self._list([self._ordering(each) for each in query.order])
            yield self._say["order"].format(keys=keys)
        if query.offset is not None:
            yield self._say["offset"].format(n=self._in(query.offset))
        if query.limit is not None:
            yield self._say["limit"].format(n=self._in(query.limit))

    def _select(self, select: Select) -> Iterator[str]:
        for source in select.sources:
            yield from self._source(source)
        if select.where is not None:
            yield self._say["where"].format(condition=self._in(select.where))
        if select.group:
            yield self._say["group"].format(keys=self._list([self._in(each) for each in select.group]))
        if select.having is not None:
            yield self._say["having"].format(condition=self._in(select.having))
        items = self._list(
            [
                self._in(each.expression) + (self._say["alias"].format(name=each.alias) if each.alias else "")
                for each in select.items
            ]
        )
        yield self._say["show"].format(items=items)
        if select.distinct:
            yield self._say["distinct"]

    def _source(self, source: Source) -> Iterator[str]:
        if isinstance(source.table, Query):
            yield self._say["inner"].format(name=source.alias)
            yield from self._inner(source.table)
            name = self._say["that"]
        else:
            name = source.table + (self._say["alias"].format(name=source.alias) if source.alias else "")
        if not source.join:
            yield self._say["read"].format(table=name)
        elif source.on is not None:
            key = "left" if source.join.startswith("LEFT") else "join"
            yield self._say[key].format(table=name, condition=self._in(source.on))
        elif source.using:
            yield self._say["using"].format(table=name, columns=self._list(source.using))
        else:
            yield self._say["natural" if source.join.startswith("NATURAL") else "cross"].format(table=name)

    def _inner(self, query: Query) -> Iterator[str]:
        for step in self.query(query):
            yield f"  {step}"

    def _ordering(self, ordering: Ordering) -> str:
        key = "falling" if ordering.descending else "rising"
        return self._say[key].format(key=self._in(ordering.expression))

    def _list(self, parts: Sequence[str]) -> str:
        if len(parts) < 2:
            return "".join(parts)
        return self._say["comma"].join(parts[:-1]) + self._say["and"] + parts[-1]

    @singledispatchmethod
    def _in(self, node: Expression) -> str:
        """An expression in words; what has no words of its own stays as it is written."""
        return expression(node)

    @_in.register
    def _(self, node: Literal) -> str:
        return self._say["null"] if node.text.upper() == "NULL" else node.text

    @_in.register
    def _(self, node: Name) -> str:
        return f"{node.table}.{node.name}" if node.table else node.name

    @_in.register
    def _(self, node: Star) -> str:
        return self._say["columns of"].format(table=node.table) if node.table else self._say["columns"]

    @_in.register
    def _(self, node: Call) -> str:
        function = node.function.lower()
        if function == "count" and node.arguments in ((), (Star(),)):
            return self._say["rows"]
        if function not in self._functions or len(node.arguments) != 1:
            return expression(node)
        key = f"{function} distinct" if node.distinct and function == "count" else function
        return self._functions[key].format(x=self._in(node.arguments[0]))

    @_in.register
    def _(self, node: Unary) -> str:
        if node.operator == "NOT":
            return self._say["not"].format(x=self._in(node.operand))
        return expression(node)

    @_in.register
    def _(self, node: Binary) -> str:
        if node.operator == "COLLATE":
            return self._in(node.left) + self._say["nocase"] * (expression(node.right) == "NOCASE")
        words = self._operators.get(node.operator)
        if words is None:
            return expression(node)
        return words.format(x=self._in(node.left), y=self._in(node.right))

    @_in.register
    def _(self, node: Between) -> str:
        words = self._say["not between" if node.negated else "between"]
        return words.format(x=self._in(node.operand), y=self._in(node.low), z=self._in(node.high))

    @_in.register
    def _(self, node: Group) -> str:
        return f"({', '.join(map(self._in, node.items))})"

    @_in.register
    def _(self, node: Nested) -> str:
        steps = self._say["then"].join(self.query(node.query))
        return self._say["exists" if node.exists else "nested"].format(steps=steps)

    @_in.register
    def _(self, node: Case) -> str:
        subject = "" if node.subject is None else f"{self._in(node.subject)} = "
        parts = [
            self._say["when"].format(condition=f"{subject}{self._in(when)}", value=self._in(then))
            for when, then in node.branches
        ]
        if node.otherwise is not None:
            parts.append(self._say["otherwise"].format(value=self._in(node.otherwise)))
        return self._say["comma"].join(parts)

    @_in.register
    def _(self, node: Cast) -> str:
        return self._say["cast"].format(x=self._in(node.operand), type=node.type)


PHRASES: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "common": "Make a table called {name}:",
        "inner": "Make a table {name}:",
        "that": "the table just made",
        "read": "Read the rows of {table}.",
        "join": "Put beside each the rows of {table} for which {condition}.",
        "left": "Put beside each the rows of {table} for which {condition}, or nothing where there are none.",
        "using": "Put beside each the rows of {table} with the same {columns}.",
        "natural": "Put beside each the rows of {table} that agree in all columns of the same name.",
        "cross": "Put beside each every row of {table}.",
        "where": "Keep those for which {condition}.",
        "group": "Put rows with the same {keys} together.",
        "having": "Keep the groups for which {condition}.",
        "show": "Show {items}.",
        "distinct": "Show equal rows once.",
        "order": "Sort by {keys}.",
        "rising": "{key}, smallest first",
        "falling": "{key}, largest first",
        "limit": "Stop after {n} rows.",
        "offset": "Leave out the first {n} rows.",
        "UNION": "Add, without repetitions:",
        "UNION ALL": "Add:",
        "INTERSECT": "Keep only what is also in:",
        "EXCEPT": "Take away:",
        "alias": " (called {name})",
        "columns": "all columns",
        "columns of": "all columns of {table}",
        "rows": "the number of rows",
        "null": "nothing",
        "not": "it is not so that {x}",
        "nocase": " in upper or lower case",
        "between": "{x} is from {y} to {z}",
        "not between": "{x} is not from {y} to {z}",
        "exists": "there is a row in [{steps}]",
        "nested": "[{steps}]",
        "then": " ",
        "when": "{value} if {condition}",
        "otherwise": "else {value}",
        "cast": "{x} as {type}",
        "comma": ", ",
        "and": " and ",
    },
    "zh": {
        "common": "先做一张名为 {name} 的表：",
        "inner": "先做一张表 {name}：",
        "that": "刚做的表",
        "read": "读取 {table} 的各行。",
        "join": "与 {table} 中满足“{condition}”的行相连。",
        "left": "与 {table} 中满足“{condition}”的行相连，没有则留空。",
        "using": "与 {table} 中 {columns} 相同的行相连。",
        "natural": "与 {table} 中所有同名列都相等的行相连。",
        "cross": "与 {table} 的每一行相连。",
        "where": "只留下{condition}的行。",
        "group": "把 {keys} 相同的行归为一组。",
        "having": "只留下{condition}的组。",
        "show": "显示 {items}。",
        "distinct": "相同的行只显示一次。",
        "order": "按 {keys} 排序。",
        "rising": "{key}（从小到大）",
        "falling": "{key}（从大到小）",
        "limit": "只取 {n} 行。",
        "offset": "跳过前 {n} 行。",
        "UNION": "再加上下面的行，去掉重复：",
        "UNION ALL": "再加上下面的行：",
        "INTERSECT": "只留下同时出现在下面的行：",
        "EXCEPT": "去掉下面的行：",
        "alias": "（称为 {name}）",
        "columns": "所有列",
        "columns of": "{table} 的所有列",
        "rows": "行数",
        "null": "空值",
        "not": "并非“{x}”",
        "nocase": "（不分大小写）",
        "between": " {x} 在 {y} 到 {z} 之间",
        "not between": " {x} 不在 {y} 到 {z} 之间",
        "exists": "存在这样的行［{steps}］",
        "nested": "［{steps}］",
        "then": "",
        "when": "若 {condition} 则为 {value}",
        "otherwise": "否则为 {value}",
        "cast": "{x}（转为 {type}）",
        "comma": "、",
        "and": "和",
    },
}
FUNCTIONS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "count": "the number of {x} that are there",
        "count distinct": "the number of different {x}",
        "sum": "the sum of {x}",
        "total": "the sum of {x}",
        "avg": "the average of {x}",
        "min": "the smallest {x}",
        "max": "the largest {x}",
        "length": "the length of {x}",
        "lower": "{x} in lower case",
        "upper": "{x} in upper case",
        "abs": "the size of {x}",
        "round": "{x} rounded",
    },
    "zh": {
        "count": "{x} 不为空的行数",
        "count distinct": "不同 {x} 的个数",
        "sum": "{x} 之和",
        "total": "{x} 之和",
        "avg": "{x} 的平均值",
        "min": "{x} 的最小值",
        "max": "{x} 的最大值",
        "length": "{x} 的长度",
        "lower": "{x} 的小写",
        "upper": "{x} 的大写",
        "abs": "{x} 的绝对值",
        "round": "{x} 取整",
    },
}
OPERATORS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "AND": "{x} and {y}",
        "OR": "{x} or {y}",
        "=": "{x} is {y}",
        "==": "{x} is {y}",
        "!=": "{x} is not {y}",
        "<>": "{x} is not {y}",
        "<": "{x} is less than {y}",
        "<=": "{x} is at most {y}",
        ">": "{x} is more than {y}",
        ">=": "{x} is at least {y}",
        "LIKE": "{x} has the form {y}",
        "NOT LIKE": "{x} does not have the form {y}",
        "IN": "{x} is among {y}",
        "NOT IN": "{x} is not among {y}",
        "IS": "{x} is {y}",
        "IS NOT": "{x} is not {y}",
    },
    "zh": {
        "AND": "{x}，并且{y}",
        "OR": "{x}，或者{y}",
        "=": " {x} 等于 {y} ",
        "==": " {x} 等于 {y} ",
        "!=": " {x} 不等于 {y} ",
        "<>": " {x} 不等于 {y} ",
        "<": " {x} 小于 {y} ",
        "<=": " {x} 不大于 {y} ",
        ">": " {x} 大于 {y} ",
        ">=": " {x} 不小于 {y} ",
        "LIKE": " {x} 形如 {y} ",
        "NOT LIKE": " {x} 不形如 {y} ",
        "IN": " {x} 在 {y} 之中",
        "NOT IN": " {x} 不在 {y} 之中",
        "IS": " {x} 是 {y} ",
        "IS NOT": " {x} 不是 {y} ",
    },
}
