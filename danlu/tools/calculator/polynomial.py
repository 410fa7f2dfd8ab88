"""Polynomials in several variables with rational coefficients, and quotients of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from danlu.tools.calculator.arithmetic import Quantity, check_time, checked
from danlu.tools.calculator.evaluate import evaluate
from danlu.tools.calculator.syntax import (
    Binary,
    CalculatorError,
    Equation,
    Name,
    Negative,
    Number,
    Percent,
    Tree,
)

Monomial = tuple[tuple[str, int], ...]  # variables with their exponents, in the order of their names
Polynomial = Mapping[Monomial, Fraction]  # no coefficient is zero

MAX_TERMS = 400
MAX_DEGREE = 40
ONE: Polynomial = {(): Fraction(1)}


@dataclass(frozen=True, slots=True)
class Ratio:
    """One polynomial over another."""

    above: Polynomial
    below: Polynomial


def ratio(tree: Tree | Equation) -> Ratio:
    """An expression as a quotient of polynomials; of an equation, left side minus right."""
    if isinstance(tree, Equation):
        return _sum(ratio(tree.left), ratio(tree.right), Fraction(-1))
    if isinstance(tree, Name) and tree.name not in ("pi", "e"):
        return Ratio({((tree.name, 1),): Fraction(1)}, ONE)
    if isinstance(tree, Negative):
        return _scaled(ratio(tree.operand), Fraction(-1))
    if isinstance(tree, Percent):
        return _scaled(ratio(tree.operand), Fraction(1, 100))
    if isinstance(tree, Binary) and tree.operator in ("+", "-", "*", "/", "^"):
        return _operation(tree)
    if isinstance(tree, Number) or not variables(tree):
        return _constant(tree)
    raise CalculatorError("only sums, products, quotients and powers of the unknowns are dealt with here")


def polynomial(tree: Tree) -> Polynomial:
    """An expression as a polynomial; one divided by an unknown is an error."""
    found = ratio(tree)
    if set(found.below) - {()}:
        raise CalculatorError("an unknown stands below a fraction line, so this is no polynomial")
    return scale(found.above, 1 / found.below[()])


def variables(tree: Tree | Equation) -> set[str]:
    """Names that stand for unknowns: all but the constants."""
    if isinstance(tree, Name):
        return {tree.name} - {"pi", "e"}
    return set().union(*(variables(each) for each in children(tree)))


def children(tree: Tree | Equation) -> tuple[Tree | Equation, ...]:
    """The parts of a tree."""
    if isinstance(tree, Negative | Percent):
        return (tree.operand,)
    if isinstance(tree, Binary | Equation):
        return (tree.left, tree.right)
    return getattr(tree, "arguments", ())


def _constant(tree: Tree) -> Ratio:
    value = evaluate(tree)
    if not isinstance(value, Quantity) or isinstance(value.value, float) or value.units:
        raise CalculatorError("equations and polynomials need exact numbers without units")
    constant: Polynomial = {(): value.value}
    return Ratio(trimmed(constant), ONE)


def _operation(tree: Binary) -> Ratio:
    left = ratio(tree.left)
    if tree.operator == "^":
        return _power(left, tree.right)
    right = ratio(tree.right)
    if tree.operator in ("+", "-"):
        return _sum(left, right, Fraction(1 if tree.operator == "+" else -1))
    if tree.operator == "/":
        if not right.above:
            raise CalculatorError("division by zero")
        right = Ratio(right.below, right.above)
    return Ratio(times(left.above, right.above), times(left.below, right.below))


def _power(base: Ratio, exponent: Tree) -> Ratio:
    found = {} if variables(exponent) else _constant(exponent).above
    n = found.get((), Fraction(0))
    if variables(exponent) or n.denominator != 1 or abs(n) > MAX_DEGREE:
        raise CalculatorError(f"an unknown can be raised to integers up to {MAX_DEGREE}, to nothing else")
    if n < 0 and not base.above:
        raise CalculatorError("division by zero")
    above, below = (base.above, base.below) if n >= 0 else (base.below, base.above)
    result = Ratio(ONE, ONE)
    for _ in range(abs(int(n))):
        result = Ratio(times(result.above, above), times(result.below, below))
    return result


def _sum(left: Ratio, right: Ratio, sign: Fraction) -> Ratio:
    if left.below == right.below:
        return Ratio(plus(left.above, scale(right.above, sign)), left.below)
    crossed = times(right.above, left.below)
    above = plus(times(left.above, right.below), scale(crossed, sign))
    return Ratio(above, times(left.below, right.below))


def _scaled(whole: Ratio, factor: Fraction) -> Ratio:
    return Ratio(scale(whole.above, factor), whole.below)


def plus(left: Polynomial, right: Polynomial) -> Polynomial:
    """The sum."""
    result = dict(left)
    for monomial, coefficient in right.items():
        result[monomial] = result.get(monomial, Fraction(0)) + coefficient
    return trimmed(result)


def times(left: Polynomial, right: Polynomial) -> Polynomial:
    """The product."""
    result: dict[Monomial, Fraction] = {}
    for one, factor in left.items():
        for other, coefficient in right.items():
            monomial = _joined(one, other)
            result[monomial] = result.get(monomial, Fraction(0)) + factor * coefficient
        check_time()
    return trimmed(result)


def scale(whole: Polynomial, factor: Fraction) -> Polynomial:
    """Every coefficient times a number."""
    return trimmed({monomial: factor * coefficient for monomial, coefficient in whole.items()})


def trimmed(whole: Polynomial) -> Polynomial:
    """Without zero terms, and refused where it has grown too large."""
    if len(whole) > MAX_TERMS:
        raise CalculatorError(f"a polynomial on the way has more than {MAX_TERMS} terms")
    for coefficient in whole.values():
        checked(coefficient)
    return {monomial: coefficient for monomial, coefficient in whole.items() if coefficient}


def _joined(one: Monomial, other: Monomial) -> Monomial:
    exponents = dict(one)
    for name, exponent in other:
        exponents[name] = exponents.get(name, 0) + exponent
    if sum(exponents.values()) > MAX_DEGREE:
        raise CalculatorError(f"a polynomial on the way has a degree above {MAX_DEGREE}")
    return tuple(sorted(exponents.items()))
