"""`danlu calc EXPRESSION`: exact arithmetic, units, dates, equations, derivatives."""

from __future__ import annotations

from dataclasses import dataclass

from danlu.tools.calculator.calculate import calculate

SUMMARY = 'compute exactly: danlu calc "3/4 + 1/6", "5 km/h to m/s", "x^2 - 3x + 2 = 0"'
POSITIONAL = ("expression",)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalcConfig:
    expression: str


def run(config: CalcConfig) -> None:
    print(calculate(config.expression))
