"""Equations: linear systems exactly; one polynomial equation, its roots exact where they can be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from danlu.tools.calculator.arithmetic import check_time, checked, exact_root
from danlu.tools.calculator.polynomial import Polynomial, Ratio, ratio, variables
from danlu.tools.calculator.show import approximately, exactly, show_polynomial
from danlu.tools.calculator.syntax import CalculatorError, Equation

MAX_UNKNOWNS = 12
MAX_DEGREE = 20
BISECTIONS = 80
DENOMINATOR = 10**6  # rational roots are looked for up to this denominator

Coefficients = list[Fraction]  # of a polynomial in one unknown, the constant first


def solve(equations: Sequence[Equation]) -> str:
    """What the unknowns are, as text; equations without unknowns are true or false."""
    sides = [ratio(equation) for equation in equations]
    unknowns = sorted(set().union(*(variables(equation) for equation in equations)))
    if len(unknowns) > MAX_UNKNOWNS:
        raise CalculatorError(f"there are {len(unknowns)} unknowns; at most {MAX_UNKNOWNS} are solved for")
    if not unknowns:
        return "true" if not any(side.above for side in sides) else "false"
    if all(_is_linear(side) for side in sides):
        return _linear_system([side.above for side in sides], unknowns)
    if len(equations) == 1 and len(unknowns) == 1:
        return _one_unknown(sides[0], unknowns[0])
    raise CalculatorError(
        "linear equations are solved in several unknowns, other equations alone and in one unknown"
    )


def _is_linear(side: Ratio) -> bool:
    constant_below = not set(side.below) - {()}
    return constant_below and all(sum(exponent for _, exponent in monomial) <= 1 for monomial in side.above)


def _linear_system(sides: Sequence[Polynomial], unknowns: Sequence[str]) -> str:
    """Gauss–Jordan elimination over the rational numbers."""
    rows = [
        [side.get(((name, 1),), Fraction(0)) for name in unknowns] + [-side.get((), Fraction(0))]
        for side in sides
    ]
    pivots: list[int] = []
    for column in range(len(unknowns)):
        place = next((i for i in range(len(pivots), len(rows)) if rows[i][column]), None)
        if place is None:
            continue
        rows[len(pivots)], rows[place] = rows[place], rows[len(pivots)]
        _eliminate(rows, len(pivots), column)
        pivots.append(column)
    if any(row[-1] for row in rows[len(pivots) :]):
        return "no solution"
    if not pivots:
        return "true for every value"
    return ", ".join(_resolved(row, column, unknowns) for row, column in zip(rows, pivots, strict=False))


def _eliminate(rows: list[list[Fraction]], pivot: int, column: int) -> None:
    leading = rows[pivot][column]
    rows[pivot] = [Fraction(checked(each / leading)) for each in rows[pivot]]
    for i, row in enumerate(rows):
        if i != pivot and row[column]:
            factor = row[column]
            rows[i] = [each - factor * other for each, other in zip(row, rows[pivot], strict=True)]


def _resolved(row: list[Fraction], column: int, unknowns: Sequence[str]) -> str:
    """`x = 3`, or in terms of unknowns that remain free, `x = -2*y + 3`."""
    free = {((name, 1),): -row[i] for i, name in enumerate(unknowns) if i != column and row[i]}
    constant = {(): row[-1]} if row[-1] else {}
    shown = show_polynomial({**free, **constant})
    approximation = "" if free or "/" not in shown else f" ≈ {approximately(row[-1])}"
    return f"{unknowns[column]} = {shown}{approximation}"


def _one_unknown(side: Ratio, unknown: str) -> str:
    if not side.above:
        return "true for every value"
    coefficients, below = _dense(side.above), _dense(side.below)
    if len(coefficients) - 1 > MAX_DEGREE:
        raise CalculatorError(f"an equation is solved up to the degree {MAX_DEGREE}")
    roots = [text for root, text in _roots(_square_free(coefficients)) if _value(below, root) or root is None]
    if not roots:
        return "no real solution"
    return " or ".join(f"{unknown} {text if text.startswith('≈') else f'= {text}'}" for text in roots)


def _dense(whole: Polynomial) -> Coefficients:
    degrees = {sum(exponent for _, exponent in monomial): value for monomial, value in whole.items()}
    return [degrees.get(degree, Fraction(0)) for degree in range(max(degrees, default=0) + 1)]


def _roots(coefficients: Coefficients) -> list[tuple[Fraction | None, str]]:
    """Real roots in ascending order, each with its text; the value only of rational ones."""
    found: list[tuple[float, Fraction | None, str]] = []
    for place in _real_roots(coefficients):
        candidate = place.limit_denominator(DENOMINATOR)
        if _value(coefficients, candidate) == 0:
            exact = exactly(candidate) or ""
            shown = exact + (f" ≈ {approximately(candidate)}" if "/" in exact else "")
            found.append((float(candidate), candidate, shown))
            coefficients = _quotient(coefficients, [-candidate, Fraction(1)])
        else:
            found.append((float(place), None, f"≈ {approximately(place)}"))
    if len(coefficients) == 3:  # what is left without its rational roots
        found = [each for each in found if each[1] is not None] + _surds(coefficients)
    return [(value, text) for _, value, text in sorted(found, key=lambda each: each[0])]


def _surds(coefficients: Coefficients) -> list[tuple[float, Fraction | None, str]]:
    """Both roots of a quadratic with a positive discriminant: (p ± √q) in closed form."""
    constant, linear, leading = coefficients
    middle = -linear / (2 * leading)
    under = middle * middle - constant / leading
    if under <= 0:
        return []
    scale, radicand = _simplified_root(under)
    result: list[tuple[float, Fraction | None, str]] = []
    for sign in (-1, 1):
        value = float(middle) + sign * float(scale) * math.sqrt(radicand)
        root = (
            f"sqrt({radicand})"
            if scale == 1
            else f"({exactly(scale)})*sqrt({radicand})"
            if scale.denominator > 1
            else f"{scale}*sqrt({radicand})"
        )
        front = f"{exactly(middle)} {'+' if sign > 0 else '-'} " if middle else "-" * (sign < 0)
        result.append((value, None, f"{front}{root} ≈ {approximately(value)}"))
    return result


def _simplified_root(under: Fraction) -> tuple[Fraction, int]:
    """√under = scale · √radicand, with the squares of small primes taken out of the radicand."""
    radicand, scale = under.numerator * under.denominator, Fraction(1, under.denominator)
    for prime in range(2, 1000):
        while radicand % (prime * prime) == 0:
            radicand //= prime * prime
            scale *= prime
    root = exact_root(Fraction(radicand), 2)
    return (scale * root, 1) if root is not None else (scale, radicand)


def _square_free(coefficients: Coefficients) -> Coefficients:
    """The polynomial with the same roots, each of them once: p / gcd(p, p')."""
    divisor, rest = coefficients, _derived(coefficients)
    while any(rest):
        divisor, rest = rest, _remainder(divisor, rest)
    return _quotient(coefficients, divisor)


def _derived(coefficients: Coefficients) -> Coefficients:
    return [degree * each for degree, each in enumerate(coefficients)][1:] or [Fraction(0)]


def _remainder(whole: Coefficients, divisor: Coefficients) -> Coefficients:
    return _divided(whole, divisor)[1]


def _quotient(whole: Coefficients, divisor: Coefficients) -> Coefficients:
    return _divided(whole, divisor)[0]


def _divided(whole: Coefficients, divisor: Coefficients) -> tuple[Coefficients, Coefficients]:
    rest, quotient = list(whole), [Fraction(0)] * max(1, len(whole) - len(divisor) + 1)
    for shift in range(len(whole) - len(divisor), -1, -1):
        factor = Fraction(checked(rest[shift + len(divisor) - 1] / divisor[-1]))
        quotient[shift] = factor
        for i, each in enumerate(divisor):
            rest[shift + i] -= factor * each
    while len(rest) > 1 and not rest[-1]:
        rest.pop()
    return quotient, rest


def _real_roots(coefficients: Coefficients) -> list[Fraction]:
    """Every real root of a square-free polynomial: between two extremes there is at most one."""
    check_time()
    if len(coefficients) <= 1:
        return []
    if len(coefficients) == 2:
        return [-coefficients[0] / coefficients[1]]
    bound = 1 + max(abs(each / coefficients[-1]) for each in coefficients[:-1])  # Cauchy's bound
    extremes = _real_roots(_square_free(_derived(coefficients)))
    places = [-bound, *extremes, bound]
    roots: list[Fraction] = []
    for low, high in pairwise(places):
        root = _bisected(coefficients, low, high)
        if root is not None:
            roots.append(root)
    return roots


def _bisected(coefficients: Coefficients, low: Fraction, high: Fraction) -> Fraction | None:
    rising = _value(coefficients, high) > 0
    if (_value(coefficients, low) > 0) == rising:
        return None
    for _ in range(BISECTIONS):
        middle = Fraction((low + high) / 2).limit_denominator(1 << BISECTIONS)
        if (_value(coefficients, middle) > 0) == rising:
            high = middle
        else:
            low = middle
    return high


def _value(coefficients: Coefficients, at: Fraction | None) -> Fraction:
    """Horner's rule; an irrational place, known as None, is no root of any denominator met here."""
    check_time()
    result = Fraction(0)
    for each in reversed(coefficients):
        result = result * (at if at is not None else 0) + each
    return result
