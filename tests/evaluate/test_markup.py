from __future__ import annotations

import math

import pytest

from danlu.evaluate.markup import both, count, duration, interval, number, signed, size, tag


def test_text_is_escaped_and_markup_is_not():
    assert tag("p", "a < b & c", tag("b", '"d"')) == "<p>a &lt; b &amp; c<b>&quot;d&quot;</b></p>"


def test_attributes_are_escaped():
    assert tag("p", class_='x" onclick="y') == '<p class="x&quot; onclick=&quot;y"></p>'


def test_a_number_keeps_its_exact_value():
    assert number(0.123456789, "percent") == '<data value="0.123456789">12.3</data>'


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_a_missing_number_is_a_dash(value):
    assert number(value) == "–"


def test_an_interval_shows_all_three_numbers():
    shown = interval({"mean": 0.1, "low": -0.02, "high": 0.22}, "points")
    assert ">+10.0<" in shown
    assert ">−2.0<" in shown
    assert ">+22.0<" in shown


@pytest.mark.parametrize(
    ("value", "text"), [(-0.0001, "0.0"), (0.0, "0.0"), (-0.123, "−12.3"), (0.05, "+5.0")]
)
def test_what_rounds_to_nothing_has_no_sign(value, text):
    assert signed(value) == text


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        (size, 999, "999 B"),
        (size, 1_234_567, "1.23 MB"),
        (duration, 59.94, "59.9 s"),
        (duration, 59.96, "1 min 00 s"),
        (duration, 3600, "1 h 00 min"),
        (duration, 422.6, "7 min 03 s"),
        (count, 1_640_000, "1.64 M"),
        (count, 999, "999"),
    ],
)
def test_units_leave_few_digits(form, value, text):
    assert form(value) == text


def test_both_languages_are_marked_as_such():
    assert both("yes", "是") == '<span class="en" lang="en">yes</span><span class="zh" lang="zh">是</span>'
