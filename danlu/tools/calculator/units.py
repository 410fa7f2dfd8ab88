"""Units: each an exact factor to the base of its dimension; English and Chinese names."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

Dimension = tuple[int, ...]  # exponents of length, mass, time, temperature, information, current


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit; a value in it times `factor`, plus `offset`, is the value in the base unit."""

    symbol: str
    factor: Fraction
    dimension: Dimension
    offset: Fraction = Fraction(0)


def _unit(symbol: str, factor: str | Fraction, dimension: Dimension, offset: str = "0") -> Unit:
    return Unit(symbol, Fraction(factor), dimension, Fraction(offset))


NONE: Dimension = (0, 0, 0, 0, 0, 0)
LENGTH: Dimension = (1, 0, 0, 0, 0, 0)
AREA: Dimension = (2, 0, 0, 0, 0, 0)
VOLUME: Dimension = (3, 0, 0, 0, 0, 0)
MASS: Dimension = (0, 1, 0, 0, 0, 0)
TIME: Dimension = (0, 0, 1, 0, 0, 0)
TEMPERATURE: Dimension = (0, 0, 0, 1, 0, 0)
INFORMATION: Dimension = (0, 0, 0, 0, 1, 0)
CURRENT: Dimension = (0, 0, 0, 0, 0, 1)
SPEED: Dimension = (1, 0, -1, 0, 0, 0)
FORCE: Dimension = (1, 1, -2, 0, 0, 0)
ENERGY: Dimension = (2, 1, -2, 0, 0, 0)
POWER: Dimension = (2, 1, -3, 0, 0, 0)
PRESSURE: Dimension = (-1, 1, -2, 0, 0, 0)
FREQUENCY: Dimension = (0, 0, -1, 0, 0, 0)
VOLTAGE: Dimension = (2, 1, -3, 0, 0, -1)

# Factors are exact by definition, those of the foot and of the Chinese market units (斤, 亩, …) since 1959.
DEFINITIONS = (
    (_unit("mm", "0.001", LENGTH), "millimetre millimeter millimetres millimeters 毫米"),
    (_unit("cm", "0.01", LENGTH), "centimetre centimeter centimetres centimeters 厘米"),
    (_unit("dm", "0.1", LENGTH), "分米"),
    (_unit("m", "1", LENGTH), "metre meter metres meters 米"),
    (_unit("km", "1000", LENGTH), "kilometre kilometer kilometres kilometers 千米 公里"),
    (_unit("里", "500", LENGTH), ""),
    (_unit("丈", Fraction(10, 3), LENGTH), ""),
    (_unit("尺", Fraction(1, 3), LENGTH), ""),
    (_unit("寸", Fraction(1, 30), LENGTH), ""),
    (_unit("inch", "0.0254", LENGTH), "inches 英寸"),
    (_unit("ft", "0.3048", LENGTH), "foot feet 英尺"),
    (_unit("yd", "0.9144", LENGTH), "yard yards 码"),
    (_unit("mi", "1609.344", LENGTH), "mile miles 英里"),
    (_unit("nmi", "1852", LENGTH), "海里"),
    (_unit("mg", "0.000001", MASS), "milligram milligrams 毫克"),
    (_unit("g", "0.001", MASS), "gram grams 克"),
    (_unit("kg", "1", MASS), "kilogram kilograms kilo kilos 千克 公斤"),
    (_unit("t", "1000", MASS), "tonne tonnes 吨"),
    (_unit("斤", "0.5", MASS), "市斤"),
    (_unit("两", "0.05", MASS), ""),
    (_unit("钱", "0.005", MASS), ""),
    (_unit("lb", "0.45359237", MASS), "lbs pound pounds 磅"),
    (_unit("oz", "0.028349523125", MASS), "ounce ounces 盎司"),
    (_unit("ms", "0.001", TIME), "millisecond milliseconds 毫秒"),
    (_unit("s", "1", TIME), "sec second seconds 秒"),
    (_unit("min", "60", TIME), "minute minutes 分钟"),
    (_unit("h", "3600", TIME), "hr hour hours 小时"),
    (_unit("days", "86400", TIME), "day 天 日"),
    (_unit("weeks", "604800", TIME), "week 周 星期"),
    (_unit("K", "1", TEMPERATURE), "kelvin 开尔文"),
    (_unit("°C", "1", TEMPERATURE, "273.15"), "℃ degC celsius 摄氏度"),
    (_unit("°F", Fraction(5, 9), TEMPERATURE, str(Fraction("459.67") * 5 / 9)), "℉ degF fahrenheit 华氏度"),
    (_unit("ha", "10000", AREA), "hectare hectares 公顷"),
    (_unit("亩", Fraction(2000, 3), AREA), ""),
    (_unit("acre", "4046.8564224", AREA), "acres 英亩"),
    (_unit("平方米", "1", AREA), ""),
    (_unit("平方公里", "1000000", AREA), "平方千米"),
    (_unit("mL", "0.000001", VOLUME), "ml millilitre milliliter 毫升"),
    (_unit("L", "0.001", VOLUME), "l litre liter litres liters 升"),
    (_unit("立方米", "1", VOLUME), ""),
    (_unit("gal", "0.003785411784", VOLUME), "gallon gallons 加仑"),
    (_unit("bit", "1", INFORMATION), "bits 比特"),
    (_unit("B", "8", INFORMATION), "byte bytes 字节"),
    (_unit("kB", "8000", INFORMATION), "KB"),
    (_unit("MB", "8000000", INFORMATION), ""),
    (_unit("GB", "8000000000", INFORMATION), ""),
    (_unit("TB", "8000000000000", INFORMATION), ""),
    (_unit("KiB", "8192", INFORMATION), ""),
    (_unit("MiB", str(8 * 2**20), INFORMATION), ""),
    (_unit("GiB", str(8 * 2**30), INFORMATION), ""),
    (_unit("mph", "0.44704", SPEED), ""),
    (_unit("knot", Fraction(1852, 3600), SPEED), "knots 节"),
    (_unit("N", "1", FORCE), "newton newtons 牛顿"),
    (_unit("J", "1", ENERGY), "joule joules 焦耳"),
    (_unit("kJ", "1000", ENERGY), "千焦"),
    (_unit("cal", "4.184", ENERGY), "卡"),
    (_unit("kcal", "4184", ENERGY), "千卡 大卡"),
    (_unit("Wh", "3600", ENERGY), ""),
    (_unit("kWh", "3600000", ENERGY), "度 千瓦时"),
    (_unit("W", "1", POWER), "watt watts 瓦"),
    (_unit("kW", "1000", POWER), "千瓦"),
    (_unit("MW", "1000000", POWER), "兆瓦"),
    (_unit("Pa", "1", PRESSURE), "帕"),
    (_unit("kPa", "1000", PRESSURE), "千帕"),
    (_unit("bar", "100000", PRESSURE), ""),
    (_unit("atm", "101325", PRESSURE), ""),
    (_unit("Hz", "1", FREQUENCY), "赫兹"),
    (_unit("kHz", "1000", FREQUENCY), ""),
    (_unit("MHz", "1000000", FREQUENCY), ""),
    (_unit("GHz", "1000000000", FREQUENCY), ""),
    (_unit("A", "1", CURRENT), "ampere amperes 安培"),
    (_unit("V", "1", VOLTAGE), "volt volts 伏"),
)
UNITS: dict[str, Unit] = {name: unit for unit, names in DEFINITIONS for name in (unit.symbol, *names.split())}
