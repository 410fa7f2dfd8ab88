"""Results as text: exact as far as they are exact, and an approximation with its sign."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

from danlu.tools.calculator.arithmetic import Value, to_float
from danlu.tools.calculator.evaluate import Result
from danlu.tools.calculator.polynomial import Monomial, Polynomial
from danlu.tools.calculator.syntax import Binary, Call, Day, Equation, Name, Negative, Number, Percent, Tree

SIGNIFICANT = 12  # digits of an approximation
DECIMAL_PLACES = 30  # of an exact decimal; longer ones are shown as fractions


def show(result: Result) -> str:
    """`7/3 ≈ 2.33333333333`, `0.3`, `4.2 km`, `2026-03-01`."""
    if isinstance(result, str):
        return result
    if isinstance(result, date):
        return result.isoformat()
    unit = f" {result.label}" if result.units else ""
    exact = exactly(result.value)
    if exact is None or "/" not in exact:
        return (exact or f"≈ {approximately(result.value)}") + unit
    return f"{exact}{unit} ≈ {approximately(result.value)}{unit}"


def exactly(value: Value) -> str | None:
    """An integer, a finite decimal or a fraction; nothing for what is known only approximately."""
    if isinstance(value, float):
        return None
    if value.denominator == 1:
        return str(value.numerator)
    places = _decimal_places(value.denominator)
    if places is None or places > DECIMAL_PLACES:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' * (value < 0)}{digits[:-places]}.{digits[-places:]}"


def _decimal_places(denominator: int) -> int | None:
    """How many places a fraction with this denominator needs; nothing if it never ends."""
    places = 0
    for prime in (2, 5):
        count = 0
        while denominator % prime == 0:
            denominator, count = denominator // prime, count + 1
        places = max(places, count)
    return places if denominator == 1 else None


def approximately(value: Value) -> str:
    """Twelve significant digits."""
    return f"{to_float(value):.{SIGNIFICANT}g}"


def show_polynomial(whole: Polynomial) -> str:
    """`x^2 - 3*x + 2`, highest degree first."""
    terms = sorted(whole.items(), key=_order)
    text = "".join(_term(monomial, coefficient) for monomial, coefficient in terms)
    return (
        text.removeprefix(" + ").replace(" - ", "-", 1)
        if text.startswith(" - ")
        else text.removeprefix(" + ") or "0"
    )


def _order(item: tuple[Monomial, Fraction]) -> tuple[int, list[tuple[str, int]]]:
    monomial = item[0]
    return -sum(exponent for _, exponent in monomial), [(name, -exponent) for name, exponent in monomial]


def _term(monomial: Monomial, coefficient: Fraction) -> str:
    sign, size = (" - ", -coefficient) if coefficient < 0 else (" + ", coefficient)
    factors = [name if exponent == 1 else f"{name}^{exponent}" for name, exponent in monomial]
    number = exactly(size) or ""
    if "/" in number and factors:
        number = f"({number})"
    return sign + "*".join(factors if factors and size == 1 else [number, *factors])


def show_tree(tree: Tree | Equation) -> str:
    """An expression with the brackets it needs."""
    if isinstance(tree, Number):
        return exactly(tree.value) or ""
    if isinstance(tree, Name):
        return tree.name
    if isinstance(tree, Day):
        return tree.value.isoformat()
    if isinstance(tree, Call):
        return f"{tree.function}({', '.join(show_tree(each) for each in tree.arguments)})"
    if isinstance(tree, Negative):
        return f"-{_bracketed(tree.operand, 2)}"
    if isinstance(tree, Percent):
        return f"{_bracketed(tree.operand, 4)}%"
    if isinstance(tree, Equation):
        return f"{show_tree(tree.left)} = {show_tree(tree.right)}"
    return _binary(tree)


def _binary(tree: Binary) -> str:
    strength = STRENGTH[tree.operator]
    left_needs = strength + (tree.operator == "^")
    right_needs = strength + (tree.operator in ("-", "/", "//", "mod"))
    space = " " if strength < 2 or tree.operator.isalpha() else ""
    left, right = _bracketed(tree.left, left_needs), _bracketed(tree.right, right_needs)
    return f"{left}{space}{tree.operator}{space}{right}"


def _bracketed(tree: Tree, needed: int) -> str:
    text = show_tree(tree)
    return text if _strength(tree) >= needed else f"({text})"


def _strength(tree: Tree) -> int:
    if isinstance(tree, Binary):
        return STRENGTH[tree.operator]
    if isinstance(tree, Number):
        return 2 if "/" in (exactly(tree.value) or "") else 1 if tree.value < 0 else 4
    return 1 if isinstance(tree, Negative) else 4


STRENGTH = {"to": 0, "+": 1, "-": 1, "*": 2, "/": 2, "//": 2, "mod": 2, "^": 3}
