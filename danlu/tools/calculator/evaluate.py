"""The value of an expression: a quantity, a date, or a word for a day of the week."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from fractions import Fraction
from typing import TypeVar

from danlu.tools.calculator.arithmetic import (
    Quantity,
    Value,
    add,
    approximate,
    checked,
    convert,
    integer,
    multiply,
    negative,
    plain,
    power,
    reciprocal,
    to_float,
)
from danlu.tools.calculator.syntax import (
    FUNCTIONS,
    Binary,
    CalculatorError,
    Call,
    Day,
    Equation,
    Name,
    Negative,
    Number,
    Percent,
    Tree,
)
from danlu.tools.calculator.units import TIME, UNITS
from danlu.tools.visible import one_line

MAX_FACTORIAL = 1400  # 1400! has 3,814 digits
MAX_FACTORED = 10**12  # by trial division

T = TypeVar("T")
Result = Quantity | date | str
Bindings = Mapping[str, Quantity]


def evaluate(tree: Tree, bindings: Bindings | None = None) -> Result:
    """What an expression comes to, with some names bound to quantities."""
    return _Evaluator(bindings or {}).value(tree)


class _Evaluator:
    """A walk over the tree."""

    def __init__(self, bindings: Bindings) -> None:
        self._bindings = bindings

    def value(self, tree: Tree | Equation) -> Result:
        if isinstance(tree, Number):
            return Quantity(checked(tree.value))
        if isinstance(tree, Day):
            return tree.value
        if isinstance(tree, Name):
            return self._named(tree.name)
        return self._composed(tree)

    def _composed(self, tree: Percent | Negative | Binary | Call | Equation) -> Result:
        if isinstance(tree, Percent):
            return multiply(self.quantity(tree.operand), Quantity(Fraction(1, 100)))
        if isinstance(tree, Negative):
            return negative(self.quantity(tree.operand))
        if isinstance(tree, Binary):
            return self._binary(tree)
        if isinstance(tree, Call):
            return _call(tree.function, [self.value(each) for each in tree.arguments])
        raise CalculatorError("an equation stands where a number is expected")

    def quantity(self, tree: Tree) -> Quantity:
        """The value, where a date will not do."""
        value = self.value(tree)
        if not isinstance(value, Quantity):
            raise CalculatorError(
                f"{value} is no number here; dates can be subtracted, and days added to them"
            )
        return value

    def _named(self, name: str) -> Result:
        if name in self._bindings:
            return self._bindings[name]
        if name in CONSTANTS:
            return Quantity(CONSTANTS[name])
        if name in ("today", "今天"):
            return date.today()
        if name in UNITS:
            return Quantity(Fraction(1), ((UNITS[name].symbol, 1),))
        raise CalculatorError(_unknown(name))

    def _binary(self, tree: Binary) -> Result:
        left = self.value(tree.left)
        if tree.operator == "to":
            return self._converted(left, tree.right)
        right = self.value(tree.right)
        if isinstance(left, date) or isinstance(right, date):
            return _with_dates(tree.operator, left, right)
        if isinstance(left, str) or isinstance(right, str):
            raise CalculatorError("a day of the week is no number")
        return BINARY[tree.operator](left, right)

    def _converted(self, left: Result, target: Tree) -> Quantity:
        if not isinstance(left, Quantity):
            raise CalculatorError("only a quantity can be converted")
        wanted = self.quantity(target)
        if wanted.value != 1 or not wanted.units:
            raise CalculatorError("after 'to' or 'in' stands a unit alone, such as km/h")
        return convert(left, wanted.units)


def _with_dates(operator: str, left: Result, right: Result) -> Result:
    """The days between two dates, or a date some days on."""
    if isinstance(left, date) and isinstance(right, date) and operator == "-":
        return Quantity(Fraction((left - right).days), (("days", 1),))
    if isinstance(left, date) and isinstance(right, Quantity) and operator in ("+", "-"):
        return _moved(left, right if operator == "+" else negative(right))
    if isinstance(right, date) and isinstance(left, Quantity) and operator == "+":
        return _moved(right, left)
    raise CalculatorError("with dates only date − date, date + days and date − days have a meaning")


def _moved(day: date, span: Quantity) -> date:
    if span.dimension != TIME:
        raise CalculatorError("to a date only a span of time can be added, such as 3 days or 2 weeks")
    days = integer(Quantity(convert(span, (("days", 1),)).value), "the number of days added to a date")
    try:
        return day + timedelta(days=days)
    except OverflowError:
        raise CalculatorError("the date is outside the years 1 to 9999") from None


def _unknown(name: str) -> str:
    known = [*UNITS, *CONSTANTS, *FUNCTIONS]
    if name in ("year", "years", "month", "months", "年", "月"):
        return f"a {name} has no fixed length; count in days or weeks, or subtract dates"
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "it is no unit, constant or function"
    return f"unknown name {one_line(name, 40)!r}; {hint}"


def _call(function: str, arguments: list[Result]) -> Result:
    if function == "weekday":
        (day,) = _exactly_n(function, arguments, 1)
        if not isinstance(day, date):
            raise CalculatorError("weekday(…) takes a date, such as weekday(2026-03-01)")
        return DAYS[day.weekday()]
    quantities = [each for each in arguments if isinstance(each, Quantity)]
    if len(quantities) < len(arguments):
        raise CalculatorError(f"{function}(…) takes numbers")
    if function in REAL:
        (operand,) = _exactly_n(function, quantities, 1)
        number = plain(operand, f"the argument of {function}")
        if number == REAL[function][1]:
            return Quantity(REAL[function][2])
        return Quantity(approximate(lambda: REAL[function][0](to_float(number))))
    if function not in CALLS:
        raise CalculatorError(f"{function}(…) stands alone, not inside another expression")
    return CALLS[function](quantities)


def _exactly_n(function: str, arguments: list[T], n: int) -> list[T]:
    if len(arguments) != n:
        raise CalculatorError(f"{function}(…) takes {n} argument{'s' * (n != 1)}, found {len(arguments)}")
    return arguments


def _subtract(left: Quantity, right: Quantity) -> Quantity:
    return add(left, negative(right))


def _divide(left: Quantity, right: Quantity) -> Quantity:
    return multiply(left, reciprocal(right))


def _whole_quotient(left: Quantity, right: Quantity) -> Quantity:
    quotient = plain(_divide(left, right), "a whole quotient")
    return Quantity(Fraction(math.floor(quotient)))


def _remainder(left: Quantity, right: Quantity) -> Quantity:
    """What is left of a division; it has the sign of the divisor."""
    return _subtract(left, multiply(right, _whole_quotient(left, right)))


def _absolute(arguments: list[Quantity]) -> Quantity:
    (operand,) = _exactly_n("abs", arguments, 1)
    return Quantity(abs(operand.value), operand.units)


def _sqrt(arguments: list[Quantity]) -> Quantity:
    (operand,) = _exactly_n("sqrt", arguments, 1)
    return power(operand, Quantity(Fraction(1, 2)))


def _least(arguments: list[Quantity]) -> Quantity:
    return min(arguments, key=lambda each: convert(each, arguments[0].units).value)


def _greatest(arguments: list[Quantity]) -> Quantity:
    return max(arguments, key=lambda each: convert(each, arguments[0].units).value)


def _total(arguments: list[Quantity]) -> Quantity:
    total, *rest = arguments
    for each in rest:
        total = add(total, each)
    return total


def _mean(arguments: list[Quantity]) -> Quantity:
    return multiply(_total(arguments), Quantity(Fraction(1, len(arguments))))


def _round(arguments: list[Quantity]) -> Quantity:
    """To the nearest; a half goes away from zero, as people round."""
    operand, places = arguments[0], integer(arguments[1], "the number of places") if len(arguments) > 1 else 0
    if len(arguments) > 2 or abs(places) > 100:
        raise CalculatorError("round(x, places) takes a number and at most 100 places")
    scaled = Fraction(operand.value) * Fraction(10) ** places
    whole = math.floor(abs(scaled) + Fraction(1, 2)) * (1 if scaled >= 0 else -1)
    return Quantity(Fraction(whole) / Fraction(10) ** places, operand.units)


def _floor(arguments: list[Quantity]) -> Quantity:
    (operand,) = _exactly_n("floor", arguments, 1)
    return Quantity(Fraction(math.floor(operand.value)), operand.units)


def _ceil(arguments: list[Quantity]) -> Quantity:
    (operand,) = _exactly_n("ceil", arguments, 1)
    return Quantity(Fraction(math.ceil(operand.value)), operand.units)


def _factorial(arguments: list[Quantity]) -> Quantity:
    (operand,) = _exactly_n("factorial", arguments, 1)
    n = integer(operand, "the argument of a factorial")
    if not 0 <= n <= MAX_FACTORIAL:
        raise CalculatorError(f"a factorial is computed of 0 to {MAX_FACTORIAL:,}, not of this number")
    return Quantity(Fraction(math.factorial(n)))


def _binomial(arguments: list[Quantity]) -> Quantity:
    n, k = (integer(each, "an argument of binomial") for each in _exactly_n("binomial", arguments, 2))
    if not (0 <= n <= 10_000 and 0 <= k <= 10_000):
        raise CalculatorError("binomial(n, k) takes integers from 0 to 10,000")
    return Quantity(checked(Fraction(math.comb(n, k))))


def _gcd(arguments: list[Quantity]) -> Quantity:
    return Quantity(Fraction(math.gcd(*(integer(each, "an argument of gcd") for each in arguments))))


def _lcm(arguments: list[Quantity]) -> Quantity:
    result = 1
    for each in arguments:
        result = math.lcm(result, integer(each, "an argument of lcm"))
        checked(Fraction(result))
    return Quantity(Fraction(result))


def _log(arguments: list[Quantity]) -> Quantity:
    """log(x) to the base 10, log(x, base); exact where the result is an integer."""
    if len(arguments) > 2:
        raise CalculatorError("log(x, base) takes one or two arguments")
    number = plain(arguments[0], "the argument of log")
    base = plain(arguments[1], "the base of log") if len(arguments) > 1 else Fraction(10)
    if number <= 0 or base <= 0 or base == 1:
        raise CalculatorError("a logarithm needs a positive number and a positive base other than 1")
    result = approximate(lambda: _natural(number) / _natural(base))
    nearest = round(result)
    exact = isinstance(number, Fraction) and isinstance(base, Fraction) and abs(nearest) < 5000
    if (
        exact
        and abs(result - nearest) < 1e-6
        and power(Quantity(base), Quantity(Fraction(nearest))).value == number
    ):
        return Quantity(Fraction(nearest))
    return Quantity(result)


def _natural(value: Value) -> float:
    """ln of a number that may be too large for floating point."""
    if isinstance(value, Fraction):
        return math.log(value.numerator) - math.log(value.denominator)
    return math.log(value)


def _ln(arguments: list[Quantity]) -> Quantity:
    (operand,) = _exactly_n("ln", arguments, 1)
    number = plain(operand, "the argument of ln")
    return Quantity(Fraction(0)) if number == 1 else Quantity(approximate(lambda: _natural(number)))


def _factor(arguments: list[Quantity]) -> str:
    (operand,) = _exactly_n("factor", arguments, 1)
    n = integer(operand, "the argument of factor")
    if not 2 <= n <= MAX_FACTORED:
        raise CalculatorError(f"factor(n) takes an integer from 2 to {MAX_FACTORED:,}")
    powers: list[str] = []
    divisor = 2
    while divisor * divisor <= n:
        times = 0
        while n % divisor == 0:
            n, times = n // divisor, times + 1
        powers += [str(divisor) + f"^{times}" * (times > 1)] if times else []
        divisor += 1 if divisor == 2 else 2
    return " * ".join([*powers, str(n)] if n > 1 else powers)


CONSTANTS: dict[str, Value] = {"pi": math.pi, "e": math.e}
DAYS = (
    *("Monday 星期一", "Tuesday 星期二", "Wednesday 星期三", "Thursday 星期四"),
    *("Friday 星期五", "Saturday 星期六", "Sunday 星期日"),
)
BINARY: dict[str, Callable[[Quantity, Quantity], Quantity]] = {
    "+": add,
    "-": _subtract,
    "*": multiply,
    "/": _divide,
    "//": _whole_quotient,
    "mod": _remainder,
    "^": power,
}
# Functions known only approximately, each with the one rational argument whose result is rational.
REAL: dict[str, tuple[Callable[[float], float], Fraction, Fraction]] = {
    "exp": (math.exp, Fraction(0), Fraction(1)),
    "sin": (math.sin, Fraction(0), Fraction(0)),
    "cos": (math.cos, Fraction(0), Fraction(1)),
    "tan": (math.tan, Fraction(0), Fraction(0)),
    "asin": (math.asin, Fraction(0), Fraction(0)),
    "acos": (math.acos, Fraction(1), Fraction(0)),
    "atan": (math.atan, Fraction(0), Fraction(0)),
}
CALLS: dict[str, Callable[[list[Quantity]], Result]] = {
    "sqrt": _sqrt,
    "abs": _absolute,
    "min": _least,
    "max": _greatest,
    "sum": _total,
    "mean": _mean,
    "round": _round,
    "floor": _floor,
    "ceil": _ceil,
    "factorial": _factorial,
    "binomial": _binomial,
    "gcd": _gcd,
    "lcm": _lcm,
    "factor": _factor,
    "ln": _ln,
    "log": _log,
}
