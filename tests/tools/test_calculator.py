from __future__ import annotations

import math
from fractions import Fraction

import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from danlu.tools.calculator.arithmetic import Quantity
from danlu.tools.calculator.calculate import calculate
from danlu.tools.calculator.derivative import derivative
from danlu.tools.calculator.evaluate import evaluate
from danlu.tools.calculator.syntax import CalculatorError, Equation, parse
from danlu.tools.calculator.units import UNITS


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("3/4 + 1/6", "11/12 ≈ 0.916666666667"),
        ("0.1 + 0.2", "0.3"),
        ("2^100", str(2**100)),
        ("-2^2", "-4"),
        ("2^3^2", "512"),
        ("2^-3", "0.125"),
        ("(-8)^3", "-512"),
        ("10 - 3 - 2", "5"),
        ("12 / 3 / 2", "2"),
        ("7 // 2", "3"),
        ("-7 mod 3", "2"),
        ("17 % 5", "2"),
        ("15% of 80", "12"),
        ("80的15%", "12"),
        ("5!", "120"),
        ("1,234,567 + 1", "1234568"),
        ("max(1,234)", "234"),
        ("sqrt(16/9)", "4/3 ≈ 1.33333333333"),
        ("sqrt(2)", "≈ 1.41421356237"),
        ("8^(2/3)", "4"),
        ("log(1000)", "3"),
        ("log(8, 2)", "3"),
        ("ln(e)", "≈ 1"),
        ("cos(0)", "1"),
        ("round(2.5)", "3"),
        ("round(-2.5)", "-3"),
        ("round(2/3, 2)", "0.67"),
        ("mean(1, 2, 4)", "7/3 ≈ 2.33333333333"),
        ("gcd(12, 18) + lcm(4, 6)", "18"),
        ("binomial(5, 2)", "10"),
        ("factor(360)", "2^3 * 3^2 * 5"),
        ("12×（3＋4）÷2 等于多少？", "42"),
        ("3 + 4 = ?", "7"),
        ("2(3 + 4)", "14"),
    ],
)
def test_arithmetic_is_exact(expression: str, result: str):
    assert calculate(expression) == result


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("5 km + 300 m", "5.3 km"),
        ("5 km + 300 m in m", "5300 m"),
        ("100 km / 2 h", "50 km/h"),
        ("90 km/h * 2.5 h", "225 km"),
        ("1 mi in km", "1.609344 km"),
        ("60 mph to m/s", "26.8224 m/s"),
        ("3斤换成克", "1500 g"),
        ("6 亩换算成平方米", "4000 平方米"),
        ("25 °C to °F", "77 °F"),
        ("-40 °F to °C", "-40 °C"),
        ("0 °C in K", "273.15 K"),
        ("1 kWh in kJ", "3600 kJ"),
        ("1 GiB in MB", "1073.741824 MB"),
        ("2 m * 3 m", "6 m^2"),
        ("km/m", "1000"),
        ("min(1 km, 900 m)", "900 m"),
        ("2026-03-01 - 2024-02-29", "731 days"),
        ("2024-02-28 + 2 days", "2024-03-01"),
        ("2026年3月1日 - 3 weeks", "2026-02-08"),
        ("weekday(2000-01-01)", "Saturday 星期六"),
        ("(2026-03-01 - 2026-02-01) in weeks", "4 weeks"),
    ],
)
def test_units_and_dates(expression: str, result: str):
    assert calculate(expression) == result


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("3x + 5 = 20", "x = 5"),
        ("3x = 1", "x = 1/3 ≈ 0.333333333333"),
        ("x + y = 10, x - y = 2", "x = 6, y = 4"),
        ("x + y + z = 6; x - y = 0; z = 2", "x = 2, y = 2, z = 2"),
        ("x + 2y = 3", "x = -2*y + 3"),
        ("x + y = 1, x + y = 2", "no solution"),
        ("x + 1 = x", "no solution"),
        ("2x = x + x", "true for every value"),
        ("4 = 2 + 2", "true"),
        ("5 = 2 + 2", "false"),
        ("x^2 - 3x + 2 = 0", "x = 1 or x = 2"),
        ("(x - 1)^2 = 0", "x = 1"),
        ("x^2 + x + 1 = 0", "no real solution"),
        ("x^2 - 6x + 7 = 0", "x = 3 - sqrt(2) ≈ 1.58578643763 or x = 3 + sqrt(2) ≈ 4.41421356237"),
        ("x^2 = 8", "x = -2*sqrt(2) ≈ -2.82842712475 or x = 2*sqrt(2) ≈ 2.82842712475"),
        ("x^5 - x - 1 = 0", "x ≈ 1.16730397826"),
        ("6/x = 2", "x = 3"),
        ("(x^2 - 1)/(x - 1) = 0", "x = -1"),
        ("solve(x^2 - 4)", "x = -2 or x = 2"),
        ("(x + 1)^3", "x^3 + 3*x^2 + 3*x + 1"),
        ("(a + b)(a - b)", "a^2 - b^2"),
        ("diff(x^2 + 3x, x)", "2*x + 3"),
        ("diff(x^5, x, 2)", "20*x^3"),
        ("diff(sin(x)*exp(x), x)", "cos(x)*exp(x) + sin(x)*exp(x)"),
        ("diff(t^2, x)", "0"),
    ],
)
def test_equations_and_derivatives(expression: str, result: str):
    assert calculate(expression) == result


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "is empty"),
        ("3 +", "character 4: the expression ends where a number"),
        ("2 apples", "unknown name 'apples'; did you mean 'amperes'"),
        ("6/2(1+2)", r"two ways; write a/\(b\*c\)"),
        ("1/2x", "two ways"),
        ("200 + 10%", "two ways; write 200 \\* 110%"),
        ("5 km + 3 kg", "kg cannot be had in km"),
        ("1 year in days", "no fixed length"),
        ("5 °C + 3 °C", "convert to K first"),
        ("x y = 1, x = y", "linear equations are solved in several unknowns"),
        ("diff(floor(x), x)", "no rule for the derivative of 'floor'"),
        ("1, 2", "2 expressions stand side by side"),
    ],
)
def test_what_cannot_be_computed_is_refused_with_the_reason(expression: str, message: str):
    with pytest.raises(CalculatorError, match=message):
        calculate(expression)


numbers = st.fractions(min_value=-50, max_value=50, max_denominator=9)


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> str:
    """Fully bracketed, so that Python reads them in the same way."""
    if depth == 0 or draw(st.booleans()):
        return f"({draw(numbers)})"
    operator = draw(st.sampled_from("+-*/"))
    return f"({draw(expressions(depth - 1))}{operator}{draw(expressions(depth - 1))})"


@given(expression=expressions())
def test_arithmetic_agrees_with_sympy(expression: str):
    expected = sympy.sympify(expression, rational=True)
    (tree,) = parse(expression)
    assert not isinstance(tree, Equation)
    if expected.has(sympy.zoo, sympy.nan):
        with pytest.raises(CalculatorError, match="division by zero"):
            evaluate(tree)
    else:
        assert evaluate(tree) == Quantity(Fraction(int(expected.p), int(expected.q)))


@pytest.mark.parametrize(
    "expression",
    [
        *(
            "sin(x)",
            "cos(2x)",
            "tan(x)",
            "exp(-x^2)",
            "ln(x + 3)",
            "sqrt(x + 2)",
            "asin(x/3)",
            "acos(x/3)",
            "atan(x)",
        ),
        *(
            "x^3 - 2x",
            "1/(x^2 + 1)",
            "x*sin(x)/(x + 4)",
            "(x + 2)^x",
            "2^x",
            "-x^2 - (-x)",
            "50%*x",
            "x^(1/3)",
            "e^(3x)",
        ),
    ],
)
def test_a_derivative_is_the_slope(expression: str):
    (tree,) = parse(expression)
    assert not isinstance(tree, Equation)
    slope = derivative(tree, "x")

    def at(point: float, what=tree) -> float:
        value = evaluate(what, {"x": Quantity(point)})
        assert isinstance(value, Quantity)
        return float(value.value)

    for point in (0.3, 0.9, 1.7):
        difference = (at(point + 1e-5) - at(point - 1e-5)) / 2e-5
        assert math.isclose(at(point, slope), difference, rel_tol=1e-6, abs_tol=1e-8)


@given(roots=st.lists(st.integers(-9, 9), min_size=1, max_size=5, unique=True))
def test_a_polynomial_has_the_roots_it_was_made_of(roots: list[int]):
    product = "*".join(f"(x - ({root}))" for root in roots)
    assert calculate(f"{product} = 0") == " or ".join(f"x = {root}" for root in sorted(roots))


def test_every_name_of_a_unit_is_one_unit():
    for name, unit in UNITS.items():
        assert calculate(f"3 {name} in {unit.symbol}") == f"3 {unit.symbol}"
