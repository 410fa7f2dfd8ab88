"""The calculator: one line in, one line out."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from danlu.tools.calculator.arithmetic import time_limit
from danlu.tools.calculator.derivative import derivative
from danlu.tools.calculator.equations import solve
from danlu.tools.calculator.evaluate import CONSTANTS, evaluate
from danlu.tools.calculator.polynomial import polynomial, variables
from danlu.tools.calculator.show import show, show_polynomial, show_tree
from danlu.tools.calculator.syntax import CalculatorError, Call, Equation, Name, Number, Tree, parse
from danlu.tools.calculator.units import UNITS

MAX_ORDER = 10  # of a derivative


def calculate(expression: str) -> str:
    """Compute an expression exactly, solve equations, or take a derivative.

    Raises:
        CalculatorError: if it cannot be read, has no value, or would cost more than the caps allow.
    """
    with time_limit():
        return _answer(parse(expression))


def _answer(statements: Sequence[Tree | Equation]) -> str:
    equations = [each for each in statements if isinstance(each, Equation)]
    if equations:
        if len(equations) < len(statements):
            raise CalculatorError(
                "equations and expressions stand together; give equations only, or one expression"
            )
        return solve(equations)
    if len(statements) > 1:
        raise CalculatorError(f"{len(statements)} expressions stand side by side; give one at a time")
    (tree,) = statements
    assert not isinstance(tree, Equation)
    if isinstance(tree, Call) and tree.function in WHOLE:
        return WHOLE[tree.function](tree.arguments)
    return _expanded(tree) if _unknowns(tree) else show(evaluate(tree))


def _unknowns(tree: Tree) -> set[str]:
    """Single letters that are no units: 2x + 3x is about an unknown, 2 apples is a mistake."""
    names = {name for name in variables(tree) if name not in UNITS and name not in CONSTANTS}
    return {name for name in names if len(name) == 1 and name.isascii()}


def _expanded(tree: Tree) -> str:
    return show_polynomial(polynomial(tree))


def _solve(arguments: Sequence[Tree | Equation]) -> str:
    """solve(3x + 5 = 20), solve(x + y = 3, x - y = 1); a bare expression is set to zero."""
    names = [each for each in arguments if isinstance(each, Name)]
    sides = [each for each in arguments if not isinstance(each, Name)]
    if not sides:
        raise CalculatorError("solve(…) takes equations, such as solve(3x + 5 = 20)")
    equations = [each if isinstance(each, Equation) else Equation(each, ZERO) for each in sides]
    found = set().union(*(variables(each) for each in equations))
    if strangers := {each.name for each in names} - found:
        raise CalculatorError(f"{sorted(strangers)[0]!r} does not occur in the equations")
    return solve(equations)


def _differentiate(arguments: Sequence[Tree | Equation]) -> str:
    """diff(x^2, x), diff(x^5, x, 2)."""
    expression, variable, *order = arguments if len(arguments) > 1 else (*arguments, Name("x"))
    if isinstance(expression, Equation) or not isinstance(variable, Name) or len(order) > 1:
        raise CalculatorError(
            "diff(expression, name, order) takes an expression, a name and at most an order"
        )
    result = derivative(expression, variable.name, _order(order[0]) if order else 1)
    return _expanded(result) if _is_polynomial(result) else show_tree(result)


def _order(tree: Tree | Equation) -> int:
    if isinstance(tree, Number) and tree.value.denominator == 1 and 1 <= tree.value <= MAX_ORDER:
        return int(tree.value)
    raise CalculatorError(f"the order of a derivative is an integer from 1 to {MAX_ORDER}")


def _is_polynomial(tree: Tree) -> bool:
    try:
        polynomial(tree)
    except CalculatorError:
        return False
    return True


def _expand(arguments: Sequence[Tree | Equation]) -> str:
    if len(arguments) != 1 or isinstance(arguments[0], Equation):
        raise CalculatorError("expand(…) takes one expression")
    return _expanded(arguments[0])


ZERO = Number(Fraction(0))
WHOLE = {"solve": _solve, "diff": _differentiate, "expand": _expand}
