"""Formulas are drawn by the browser from MathML; whatever else they say does nothing."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("latex2mathml", reason="formulas need latex2mathml: pip install 'danlu[studio]'")

from scripted import HOSTILE

from danlu.serve.studio.formulas import ATTRIBUTES, ELEMENTS, mathml
from danlu.serve.studio.rich_text import rich


def html(text: str) -> str:
    return rich(text, copy="Copy", thoughts="Thoughts")


def words(made: str) -> str:
    return re.sub(r"<[^>]*>", "", made)


@pytest.mark.parametrize("text", ["$a+b$", r"\(a+b\)", "so $a+b$ it is"])
def test_a_formula_in_a_line(text: str):
    made = html(text)
    assert '<math display="inline">' in made or "<math" in made
    assert "<mi>a</mi><mo>+</mo><mi>b</mi>" in made


def test_fractions_roots_and_greek_letters():
    made = html(r"$$\frac{1}{\sqrt{\pi}}$$")
    assert re.search(r'<math [^>]*display="block"', made)
    assert "<mfrac><mrow><mn>1</mn></mrow><mrow><msqrt><mrow><mi>π</mi></mrow></msqrt></mrow></mfrac>" in made


def test_a_block_is_no_markdown_whatever_it_looks_like():
    made = html("Look:\n\n$$\na\n- b\n= c\n$$\n\nThere.")
    assert "<li>" not in made
    assert words(made).split() == ["Look:", "a−b=c", "There."]


@pytest.mark.parametrize("text", ["$5 and $6", "a $ b $ c", r"\$x\$", "$", "`$a$`"])
def test_money_and_code_are_no_formulas(text: str):
    assert "<math" not in html(text)


@pytest.mark.parametrize(
    "latex",
    [
        r"\left( a",
        "a_b_c",
        "^",
        r"\begin{matrix} a",
        "{" * 50 + "}" * 50,
        "x" * 2001,
        r"\newcommand{\a}{b}\a",
        r"\def\a{b}",
    ],
)
def test_what_is_no_formula_stays_as_it_was_written(latex: str):
    assert mathml(latex, display=False) is None
    if len(latex) < 100:
        assert "<code>" in html(f"\\({latex}\\)")


@pytest.mark.parametrize(
    "latex",
    [
        rf"\text{{{HOSTILE}}}",
        r"\text{<script>alert(1)</script>}",
        r"\text{&lt;script&gt;alert(1)}",
        r"\href{javascript:alert(1)}{x}",
        r"\style{color:red;background:url(//e.example)}{x}",
        r"\class{dl-alert}{x}",
        r"\color{red;x}{y}",
        r"\mathrm{<img src=x onerror=alert(1)>}",
        "<b>&amp;</b>",
        r"\hspace{1em\" onload=\"alert(1)}",
        r"\unicode{60}script\unicode{62}",
    ],
)
def test_hostile_formulas_are_only_shown(latex: str):
    made = mathml(latex, display=False) or ""
    tags = re.findall(r"<(/?)([^\s/>]+)([^>]*)>", made)
    assert {name for _, name, _ in tags} <= ELEMENTS
    named = re.findall(r'([\w:-]+)="', " ".join(rest for _, _, rest in tags))
    assert set(named) <= ATTRIBUTES
    shown = html(f"\\({latex}\\)")
    assert not re.search(r"<(script|img|svg|iframe|b)\b", shown)
