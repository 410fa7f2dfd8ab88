"""Numbers with their units: exact where they can be, with a cap before every operation that could grow."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from fractions import Fraction

from danlu.tools.calculator.syntax import CalculatorError
from danlu.tools.calculator.units import NONE, UNITS, Dimension

Value = Fraction | float  # a float is an approximation and shown as one
Units = tuple[tuple[str, int], ...]  # symbols with their exponents, such as (("km", 1), ("h", -1))

MAX_BITS = 13_000  # of a numerator or a denominator: some 3,900 digits
MAX_POWER_OF_UNIT = 20
TIME_LIMIT_S = 2.0  # of this thread's own work
_DEADLINE: ContextVar[float] = ContextVar("_DEADLINE", default=math.inf)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number of units; no units make it a plain number."""

    value: Value
    units: Units = ()

    @property
    def factor(self) -> Fraction:
        """What one of these units is in base units."""
        result = Fraction(1)
        for symbol, exponent in self.units:
            result *= UNITS[symbol].factor ** exponent
        return result

    @property
    def dimension(self) -> Dimension:
        """Exponents of length, mass, time and so on."""
        rows = [[exponent * each for each in UNITS[symbol].dimension] for symbol, exponent in self.units]
        return tuple(map(sum, zip(*rows, strict=True))) if rows else NONE

    @property
    def label(self) -> str:
        """The units as written: km/h, m^2."""
        above = [_power_of(symbol, exponent) for symbol, exponent in self.units if exponent > 0]
        below = [_power_of(symbol, -exponent) for symbol, exponent in self.units if exponent < 0]
        over = f"({'*'.join(below)})" if len(below) > 1 else "".join(below)
        return "*".join(above) + (f"{'/' if above else '1/'}{over}" if below else "")


def _power_of(symbol: str, exponent: int) -> str:
    return symbol if exponent == 1 else f"{symbol}^{exponent}"


def add(left: Quantity, right: Quantity) -> Quantity:
    """Their sum, in the units of the first."""
    _refuse_degrees(left, right)
    return Quantity(checked(_exactly(left.value, convert(right, left.units).value, _plus)), left.units)


def negative(operand: Quantity) -> Quantity:
    return Quantity(-operand.value, operand.units)


def multiply(left: Quantity, right: Quantity) -> Quantity:
    """Their product; units that cancel become a number."""
    if left.units and right.units:
        _refuse_degrees(left, right)
    product = checked(_exactly(left.value, right.value, _times))
    exponents = dict(left.units)
    for symbol, exponent in right.units:
        exponents[symbol] = exponents.get(symbol, 0) + exponent
    result = Quantity(product, _checked_units(exponents))
    return result if any(result.dimension) else convert(result, ())


def reciprocal(operand: Quantity) -> Quantity:
    """One divided by it."""
    if operand.value == 0:
        raise CalculatorError("division by zero")
    return Quantity(1 / operand.value, tuple((symbol, -exponent) for symbol, exponent in operand.units))


def power(base: Quantity, exponent: Quantity) -> Quantity:
    """A power; exact where the exponent is an integer, or the root is a rational number."""
    raised = plain(exponent, "an exponent")
    if isinstance(raised, Fraction) and raised.denominator == 1:
        return _integer_power(base, raised.numerator)
    if base.units:
        raise CalculatorError(f"({base.label}) can only be raised to an integer")
    if base.value == 0 and raised < 0:
        raise CalculatorError("division by zero")
    if base.value < 0:
        raise CalculatorError("a root of a negative number is no real number")
    if isinstance(base.value, Fraction) and isinstance(raised, Fraction) and raised.denominator <= 64:
        root = exact_root(base.value, raised.denominator)
        if root is not None:
            return _integer_power(Quantity(root), raised.numerator)
    return Quantity(approximate(lambda: to_float(base.value) ** to_float(raised)))


def _integer_power(base: Quantity, exponent: int) -> Quantity:
    if base.value == 0 and exponent < 0:
        raise CalculatorError("division by zero")
    if isinstance(base.value, float):
        return Quantity(approximate(lambda: base.value**exponent), _raised(base, exponent))
    bits = max(base.value.numerator.bit_length(), base.value.denominator.bit_length())
    if abs(base.value) not in (0, 1) and bits * abs(exponent) > 2 * MAX_BITS:
        raise _too_large()
    if abs(exponent) > 10 * MAX_BITS:
        exponent = exponent % 2 if base.value == -1 else 1  # of 0, 1 and −1, whatever the exponent
    return Quantity(checked(base.value**exponent), _raised(base, exponent))


def _raised(base: Quantity, exponent: int) -> Units:
    return _checked_units({symbol: each * exponent for symbol, each in base.units})


def _checked_units(exponents: dict[str, int]) -> Units:
    if any(abs(exponent) > MAX_POWER_OF_UNIT for exponent in exponents.values()):
        raise CalculatorError(f"a unit is raised beyond the power {MAX_POWER_OF_UNIT}")
    return tuple((symbol, exponent) for symbol, exponent in exponents.items() if exponent)


def convert(quantity: Quantity, units: Units) -> Quantity:
    """The same quantity in other units; temperatures with their zero points where both stand alone."""
    target = Quantity(Fraction(1), units)
    if quantity.dimension != target.dimension:
        raise CalculatorError(
            f"{quantity.label or 'a plain number'} cannot be had in {target.label or 'plain numbers'}"
        )
    shift = _offset(quantity.units) - _offset(units)
    base = _exactly(quantity.value, quantity.factor, _times)
    return Quantity(checked(_exactly(_exactly(base, shift, _plus), 1 / target.factor, _times)), units)


def _offset(units: Units) -> Fraction:
    return UNITS[units[0][0]].offset if len(units) == 1 and units[0][1] == 1 else Fraction(0)


def _refuse_degrees(*quantities: Quantity) -> None:
    """A sum or product of temperatures on a scale with its own zero has no one meaning."""
    for quantity in quantities:
        for symbol, _ in quantity.units:
            if UNITS[symbol].offset:
                raise CalculatorError(
                    f"{symbol} can be converted, but not added or multiplied; convert to K first"
                )


def plain(quantity: Quantity, what: str) -> Value:
    """The number, where units have no place."""
    if quantity.units:
        raise CalculatorError(f"{what} must be a plain number, but it is in {quantity.label}")
    return quantity.value


def integer(quantity: Quantity, what: str) -> int:
    """The number, where only an integer will do."""
    value = plain(quantity, what)
    if isinstance(value, float) or value.denominator != 1:
        raise CalculatorError(f"{what} must be an exact integer")
    return value.numerator


def exact_root(value: Fraction, degree: int) -> Fraction | None:
    """The root of a number that is not negative, if it is rational."""
    above, below = _integer_root(value.numerator, degree), _integer_root(value.denominator, degree)
    return None if above is None or below is None else Fraction(above, below)


def _integer_root(value: int, degree: int) -> int | None:
    low, high = 0, 1 << -(-value.bit_length() // degree)
    while low < high:
        middle = (low + high) // 2
        if middle**degree < value:
            low = middle + 1
        else:
            high = middle
    return low if low**degree == value else None


@contextmanager
def time_limit() -> Generator[None]:
    """Whatever is computed inside is given up when the time is over."""
    token = _DEADLINE.set(time.thread_time() + TIME_LIMIT_S)
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def check_time() -> None:
    """Give up if the time is over."""
    if time.thread_time() > _DEADLINE.get():
        raise CalculatorError(f"the computation takes longer than {TIME_LIMIT_S:g} seconds")


def checked(value: Value) -> Value:
    """The value itself, unless it has grown beyond the cap, is no number, or comes too late."""
    check_time()
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _too_large()
        return value
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise _too_large()
    return value


def approximate(compute: Callable[[], float]) -> float:
    """The result of floating-point mathematics, whose own errors become ours."""
    try:
        result = compute()
    except OverflowError:
        raise _too_large() from None
    except (ValueError, ZeroDivisionError):
        raise CalculatorError("the function is not defined at this value") from None
    checked(result)
    return result


def to_float(value: Value) -> float:
    """The nearest floating-point number."""
    return approximate(lambda: float(value))


def _exactly(left: Value, right: Value, operation: Callable[[Value, Value], Value]) -> Value:
    """One operation, exact where both sides are."""
    if isinstance(left, float) or isinstance(right, float):
        return operation(to_float(left), to_float(right))
    return operation(left, right)


def _plus(left: Value, right: Value) -> Value:
    return left + right


def _times(left: Value, right: Value) -> Value:
    return left * right


def _too_large() -> CalculatorError:
    return CalculatorError(f"a number on the way has more than {MAX_BITS * 3 // 10:,} digits")
