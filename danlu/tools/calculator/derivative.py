"""Derivatives of expressions, rule by rule, with the simplest of simplifications."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from danlu.tools.calculator.arithmetic import check_time, checked
from danlu.tools.calculator.polynomial import children, variables
from danlu.tools.calculator.syntax import (
    Binary,
    CalculatorError,
    Call,
    Equation,
    Name,
    Negative,
    Number,
    Percent,
    Tree,
)

MAX_NODES = 3000  # of a derivative
ZERO, ONE = Number(Fraction(0)), Number(Fraction(1))


def derivative(tree: Tree, variable: str, order: int = 1) -> Tree:
    """The derivative of an expression by one of its names."""
    for _ in range(order):
        tree = _derive(tree, variable)
        if _size(tree) > MAX_NODES:
            raise CalculatorError(f"the derivative has more than {MAX_NODES:,} parts")
    return tree


def _size(tree: Tree | Equation) -> int:
    count, rest = 0, [tree]
    while rest and count <= MAX_NODES:
        rest += children(rest.pop())
        count += 1
    return count


def _derive(tree: Tree, variable: str) -> Tree:
    check_time()
    if variable not in variables(tree):
        return ZERO
    if isinstance(tree, Name):
        return ONE
    if isinstance(tree, Negative):
        return negative(_derive(tree.operand, variable))
    if isinstance(tree, Percent):
        return divided(_derive(tree.operand, variable), Number(Fraction(100)))
    if isinstance(tree, Binary) and tree.operator in RULES:
        return RULES[tree.operator](tree.left, tree.right, variable)
    if isinstance(tree, Call) and tree.function in OUTER and len(tree.arguments) == 1:
        (inner,) = tree.arguments
        if not isinstance(inner, Equation):
            return product(OUTER[tree.function](inner), _derive(inner, variable))
    what = tree.function if isinstance(tree, Call) else tree.operator if isinstance(tree, Binary) else "it"
    raise CalculatorError(
        f"no rule for the derivative of {what!r}; there are rules for {', '.join(OUTER)} and + - * / ^"
    )


def _of_sum(left: Tree, right: Tree, variable: str) -> Tree:
    return total(_derive(left, variable), _derive(right, variable))


def _of_difference(left: Tree, right: Tree, variable: str) -> Tree:
    return difference(_derive(left, variable), _derive(right, variable))


def _of_product(left: Tree, right: Tree, variable: str) -> Tree:
    return total(product(_derive(left, variable), right), product(left, _derive(right, variable)))


def _of_quotient(left: Tree, right: Tree, variable: str) -> Tree:
    if variable not in variables(right):
        return divided(_derive(left, variable), right)
    above = difference(product(_derive(left, variable), right), product(left, _derive(right, variable)))
    return divided(above, raised(right, Number(Fraction(2))))


def _of_power(base: Tree, exponent: Tree, variable: str) -> Tree:
    if variable not in variables(exponent):
        outer = product(exponent, raised(base, difference(exponent, ONE)))
        return product(outer, _derive(base, variable))
    whole = raised(base, exponent)
    grown = _derive(product(exponent, Call("ln", (base,)) if base != Name("e") else ONE), variable)
    return product(whole, grown)


def total(left: Tree, right: Tree) -> Tree:
    """A sum, without zeros; of two numbers their sum."""
    if isinstance(left, Number) and isinstance(right, Number):
        return _number(left.value + right.value)
    if left == ZERO or right == ZERO:
        return right if left == ZERO else left
    if isinstance(right, Negative):
        return Binary("-", left, right.operand)
    return Binary("+", left, right)


def difference(left: Tree, right: Tree) -> Tree:
    """A difference, in the same manner."""
    return total(left, negative(right)) if right != ZERO else left


def product(left: Tree, right: Tree) -> Tree:
    """A product, without ones; numbers stand in front and are multiplied."""
    if ZERO in (left, right):
        return ZERO
    if ONE in (left, right):
        return right if left == ONE else left
    if isinstance(left, Negative):
        return negative(product(left.operand, right))
    if isinstance(right, Negative):
        return negative(product(left, right.operand))
    return _product_of_positives(left, right)


def _product_of_positives(left: Tree, right: Tree) -> Tree:
    if isinstance(right, Number):
        return _number(left.value * right.value) if isinstance(left, Number) else product(right, left)
    if isinstance(right, Binary) and right.operator == "/" and right.left == ONE:
        return divided(left, right.right)
    if isinstance(left, Number) and isinstance(right, Binary) and right.operator == "*":
        front = right.left
        if isinstance(front, Number):
            return product(_number(left.value * front.value), right.right)
    return Binary("*", left, right)


def divided(left: Tree, right: Tree) -> Tree:
    """A quotient; zero over anything is zero."""
    if left == ZERO or right == ONE:
        return left
    if left == right:
        return ONE
    if isinstance(left, Number) and isinstance(right, Number) and right.value:
        return _number(left.value / right.value)
    return Binary("/", left, right)


def raised(base: Tree, exponent: Tree) -> Tree:
    """A power; the first is the base itself."""
    if exponent in (ZERO, ONE):
        return base if exponent == ONE else ONE
    return Binary("^", base, exponent)


def negative(tree: Tree) -> Tree:
    """The opposite; of a number, that number."""
    if isinstance(tree, Number):
        return _number(-tree.value)
    return tree.operand if isinstance(tree, Negative) else Negative(tree)


def _number(value: Fraction) -> Number:
    checked(value)
    return Number(value)


def _inverse(tree: Tree) -> Tree:
    return divided(ONE, tree)


def _one_minus_square(tree: Tree) -> Tree:
    return difference(ONE, raised(tree, Number(Fraction(2))))


RULES: dict[str, Callable[[Tree, Tree, str], Tree]] = {
    "+": _of_sum,
    "-": _of_difference,
    "*": _of_product,
    "/": _of_quotient,
    "^": _of_power,
}
# The derivative of each function at its argument, without the inner derivative.
OUTER: dict[str, Callable[[Tree], Tree]] = {
    "sin": lambda x: Call("cos", (x,)),
    "cos": lambda x: negative(Call("sin", (x,))),
    "tan": lambda x: _inverse(raised(Call("cos", (x,)), Number(Fraction(2)))),
    "exp": lambda x: Call("exp", (x,)),
    "ln": _inverse,
    "sqrt": lambda x: _inverse(product(Number(Fraction(2)), Call("sqrt", (x,)))),
    "asin": lambda x: _inverse(Call("sqrt", (_one_minus_square(x),))),
    "acos": lambda x: negative(_inverse(Call("sqrt", (_one_minus_square(x),)))),
    "atan": lambda x: _inverse(total(ONE, raised(x, Number(Fraction(2))))),
}
