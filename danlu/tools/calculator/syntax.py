"""How an expression is written: text to a tree of numbers, names and operations, within caps on its size."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Literal

from danlu.tools.calculator.units import UNITS
from danlu.tools.error import ToolError
from danlu.tools.visible import one_line

MAX_CHARACTERS = 2000
MAX_TOKENS = 300  # a tree is never deeper than this, so no function that walks it runs out of stack
MAX_NESTING = 40
MAX_DIGITS = 1000  # of a number that is written out
MAX_EXPONENT = 1000  # of a number such as 1e1000

Operator = Literal["+", "-", "*", "/", "//", "mod", "^", "to"]


class CalculatorError(ToolError):
    """An expression cannot be read or computed."""


@dataclass(frozen=True, slots=True)
class Number:
    value: Fraction


@dataclass(frozen=True, slots=True)
class Percent:
    operand: Tree


@dataclass(frozen=True, slots=True)
class Day:
    value: date


@dataclass(frozen=True, slots=True)
class Name:
    name: str


@dataclass(frozen=True, slots=True)
class Negative:
    operand: Tree


@dataclass(frozen=True, slots=True)
class Binary:
    operator: Operator
    left: Tree
    right: Tree


@dataclass(frozen=True, slots=True)
class Call:
    function: str
    arguments: tuple[Tree | Equation, ...]


@dataclass(frozen=True, slots=True)
class Equation:
    left: Tree
    right: Tree


Tree = Number | Percent | Day | Name | Negative | Binary | Call


@dataclass(frozen=True, slots=True)
class Token:
    kind: str  # number, date, name, operator, end
    text: str
    place: int  # of its first character, counted from 1


def parse(text: str) -> tuple[Tree | Equation, ...]:
    """The expression in a text, or its equations, which commas or semicolons separate."""
    if len(text) > MAX_CHARACTERS:
        raise CalculatorError(
            f"the expression has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read"
        )
    tokens = list(_tokens(ASKING.sub("", text.translate(SPELLINGS))))
    if len(tokens) > MAX_TOKENS:
        raise CalculatorError(f"the expression has {len(tokens)} parts; at most {MAX_TOKENS} are read")
    if len(tokens) == 1:
        raise CalculatorError("the expression is empty; write, for example, 3/4 + 1/6")
    return _Parser(tokens).statements()


def _tokens(text: str) -> Iterator[Token]:
    place = depth = 0
    while place < len(text):
        found = (TOKEN if depth else TOKEN_WITH_GROUPS).match(text, place)
        if not found:
            raise CalculatorError(
                f"character {place + 1}, {one_line(text[place])!r}, is not part of an expression"
            )
        kind, word = found.lastgroup or "", found[0]
        depth += (word == "(") - (word == ")")
        if kind != "space":
            yield Token(kind, WORDS.get(word.lower(), word), place + 1)
        place = found.end()
    yield Token("end", "", len(text) + 1)


class _Parser:
    """Recursive descent; each rule of the grammar is a method."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._nesting = 0

    def statements(self) -> tuple[Tree | Equation, ...]:
        found = [self._statement()]
        while self._take(",", ";"):
            found.append(self._statement())
        if self._token.kind != "end":
            raise self._unexpected("an operator")
        return tuple(found)

    def _statement(self) -> Tree | Equation:
        left = self._conversion()
        return Equation(left, self._conversion()) if self._take("=") else left

    def _conversion(self) -> Tree:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise CalculatorError(f"the expression is nested deeper than {MAX_NESTING} levels")
        tree = self._sum()
        while self._take("to"):
            tree = Binary("to", tree, self._sum())
        self._nesting -= 1
        return tree

    def _sum(self) -> Tree:
        tree = self._product()
        while operator := self._take("+", "-"):
            right = self._product()
            if isinstance(right, Percent) and not isinstance(tree, Percent):
                raise CalculatorError(
                    f"'… {operator} …%' can be meant in two ways; write 200 * 110% or 200 + 10% of 200"
                )
            tree = Binary("+" if operator == "+" else "-", tree, right)
        return tree

    def _product(self) -> Tree:
        tree, divided = self._joined(divided=False), False
        while operator := self._take(*PRODUCTS):
            divided = operator not in ("*", "of")
            tree = Binary(PRODUCTS[operator], tree, self._joined(divided=divided))
        return tree

    def _joined(self, *, divided: bool) -> Tree:
        """Factors side by side, as in 3x, 2(a + b) or 5 km."""
        tree = self._signed()
        while self._begins_factor(self._token):
            if divided and self._token.text not in UNITS:
                raise CalculatorError(
                    f"character {self._token.place}: after a division, a product without its sign can be "
                    "meant in two ways; write a/(b*c) or (a/b)*c"
                )
            tree = Binary("*", tree, self._power())
        return tree

    @staticmethod
    def _begins_factor(token: Token) -> bool:
        return token.text == "(" or (token.kind == "name" and token.text not in RESERVED)

    def _signed(self) -> Tree:
        sign = self._take("-", "+")
        if not sign:
            return self._power()
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise CalculatorError(f"the expression is nested deeper than {MAX_NESTING} levels")
        operand = self._signed()
        self._nesting -= 1
        return Negative(operand) if sign == "-" else operand

    def _power(self) -> Tree:
        base = self._postfix()
        if not self._take("^"):
            return base
        return Binary("^", base, self._signed())

    def _postfix(self) -> Tree:
        tree = self._atom()
        while True:
            if self._take("!"):
                tree = Call("factorial", (tree,))
            elif self._token.text == "%" and not self._begins_operand(self._tokens[self._next + 1]):
                self._take("%")
                tree = Percent(tree)
            else:
                return tree

    @staticmethod
    def _begins_operand(token: Token) -> bool:
        """True where `%` before this token asks for a remainder: 17 % 5."""
        return token.kind == "number" or _Parser._begins_factor(token)

    def _atom(self) -> Tree:
        token = self._token
        self._next += token.kind != "end"
        if token.kind == "number":
            return Number(_number(token))
        if token.kind == "date":
            return Day(_day(token))
        if token.kind == "name" and token.text not in RESERVED:
            return (
                self._call(token.text)
                if self._token.text == "(" and token.text in FUNCTIONS
                else Name(token.text)
            )
        if token.text == "(":
            tree = self._conversion()
            self._expect(")")
            return tree
        self._next -= token.kind != "end"
        raise self._unexpected("a number, a name or '('")

    def _call(self, function: str) -> Tree:
        self._expect("(")
        arguments = [self._statement()]
        while self._take(",", ";"):
            arguments.append(self._statement())
        self._expect(")")
        return Call(function, tuple(arguments))

    @property
    def _token(self) -> Token:
        return self._tokens[self._next]

    def _take(self, *texts: str) -> str:
        """The text of the next token if it is one of these operators, which is then behind us."""
        token = self._token
        if token.kind == "end" or token.text not in texts:
            return ""
        self._next += 1
        return token.text

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._unexpected(repr(text))

    def _unexpected(self, wanted: str) -> CalculatorError:
        token = self._token
        found = "the expression ends" if token.kind == "end" else f"found {one_line(token.text, 40)!r}"
        return CalculatorError(f"character {token.place}: {found} where {wanted} is expected")


def _number(token: Token) -> Fraction:
    mantissa, _, exponent = token.text.replace(",", "").replace("_", "").lower().partition("e")
    if len(mantissa) > MAX_DIGITS:
        raise CalculatorError(
            f"character {token.place}: a number of {len(mantissa):,} digits; at most {MAX_DIGITS:,}"
        )
    if len(exponent) > 6 or abs(int(exponent or 0)) > MAX_EXPONENT:
        raise CalculatorError(
            f"character {token.place}: the exponent {exponent[:12]} is beyond ±{MAX_EXPONENT:,}"
        )
    return Fraction(mantissa) * Fraction(10) ** int(exponent or 0)


def _day(token: Token) -> date:
    year, month, day = (int(part) for part in re.findall(r"\d+", token.text))
    try:
        return date(year, month, day)
    except ValueError as error:
        raise CalculatorError(f"character {token.place}: {token.text} is no date: {error}") from None


_DATE = r"(?P<date>\d{4}-\d{2}-\d{2}(?!\d)|\d{4}年\d{1,2}月\d{1,2}日)"
_PLAIN = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_GROUPS = r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?"
_HAN_WORDS = "换算成|换成|转换为|取模|的"
_REST = (
    rf"(?P<name>{_HAN_WORDS}|[A-Za-z_°℃℉π]+[0-9]*|(?:(?!{_HAN_WORDS})[\u4e00-\u9fff])+)"
    r"|(?P<operator>\*\*|//|->|[-+*/^!%(),;=])|(?P<space>\s+)"
)
TOKEN = re.compile(f"{_DATE}|(?P<number>{_PLAIN})|{_REST}")
TOKEN_WITH_GROUPS = re.compile(f"{_DATE}|(?P<number>{_GROUPS}|{_PLAIN})|{_REST}")  # 1,234 outside brackets

ASKING = re.compile(r"\s*(?:=\s*[?？]?|(?:等于|是)多少\s*[?？]?)\s*$")  # "3 + 4 = ?" asks for 3 + 4
# Full-width and typographic signs, read as those on a keyboard.
SPELLINGS = str.maketrans(
    "０１２３４５６７８９＋－−–×·⋅＊÷／（）［］[]＝，、；％＾．！",
    "0123456789+---****//()()()=,,;%^.!",
) | {ord("²"): "^2", ord("³"): "^3", ord("\u3000"): " "}
WORDS = {
    "**": "^",
    "->": "to",
    "in": "to",
    "into": "to",
    "as": "to",
    "换成": "to",
    "换算成": "to",
    "转换为": "to",
    "的": "of",
    "取模": "mod",
    "π": "pi",
}
PRODUCTS: dict[str, Operator] = {"*": "*", "/": "/", "//": "//", "mod": "mod", "%": "mod", "of": "*"}
RESERVED = {"to", "of", "mod"}
FUNCTIONS = {
    *("sqrt", "abs", "min", "max", "mean", "sum", "round", "floor", "ceil", "factorial", "gcd", "lcm"),
    *("binomial", "factor", "exp", "ln", "log", "sin", "cos", "tan", "asin", "acos", "atan"),
    *("weekday", "solve", "diff", "expand"),
}
