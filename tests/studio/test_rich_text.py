"""Whatever people and models write is shown and never run."""

from __future__ import annotations

import re

import pytest
from scripted import HOSTILE

from danlu.serve.studio.rich_text import plain, rich, shown
from danlu.serve.studio.writing import changes_html

ALLOWED = {
    *(
        "p",
        "br",
        "em",
        "strong",
        "s",
        "a",
        "ul",
        "ol",
        "li",
        "blockquote",
        "hr",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
    ),
    *("h6", "code", "pre", "div", "span", "button", "table", "thead", "tbody", "tr", "th", "td", "details"),
    *("summary", "ins", "del"),
}
ATTRIBUTES = {"class", "href", "rel", "title", "type", "tabindex", "style", "start"}


def html(text: str) -> str:
    return rich(text, copy="Copy", thoughts="Thoughts")


def tags(made: str) -> list[tuple[str, str]]:
    return re.findall(r"<\s*/?\s*([a-zA-Z0-9!?]+)([^>]*)>", made)


HOSTILE_TEXTS = [
    HOSTILE,
    "<ScRiPt >alert(1)</sCrIpT>",
    "[a](<javascript:alert(1)>) [b](JaVaScRiPt:alert(1))",
    "[c](data:text/html,<script>alert(1)</script>)",
    "[d](&#106;avascript:alert(1)) [e](\x01javascript:alert(1)) <javascript:alert(1)>",
    "[f](vbscript:x) [g](/studio) [h](//evil.example)",
    '[x](https://a.example/"onmouseover="alert(1)) [y](https://a.example "title\\" onclick=\\"alert(1)")',
    "| <img src=x onerror=alert(1)> | b |\n|---|---|\n| <svg/onload=alert(1)> | `|` |",
    '```python" onclick="alert(1)\nx\n```',
    "``` <img/src=x/onerror=alert(1)>\nx\n```",
    "<think><img src=x onerror=alert(1)></think><b>x</b>",
    "&lt;script&gt;alert(1)&lt;/script&gt; &#60;img src=x onerror=alert(1)&#62;",
    "a\0b\ud800c\u2028d",
    ">" * 300 + " deep",
    "[" * 3000 + "](" * 3000,
    "*" * 5000 + "_" * 5000,
]


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_only_our_own_tags_and_harmless_addresses_come_out(text: str):
    for made in (html(text), plain(text), changes_html("", text), changes_html(text, "")):
        for name, rest in tags(made):
            assert name.lower() in ALLOWED, (name, rest)
            names = set(re.findall(r"([a-zA-Z-]+)\s*=\s*\"", rest))
            assert names <= ATTRIBUTES, rest
        for address in re.findall(r'href="([^"]*)"', made):
            assert address.split(":")[0] in ("http", "https", "mailto")
        made.encode("utf-8")


def test_markdown_is_formatted():
    assert html("**a** and `b<c`") == "<p><strong>a</strong> and <code>b&lt;c</code></p>\n"
    assert '<a href="https://a.example" rel="noopener noreferrer nofollow">t</a>' in html(
        "[t](https://a.example)"
    )
    assert "<td>1</td>" in html("| a |\n|---|\n| 1 |")
    assert "<ol>\n<li>x</li>" in html("1. x")


def test_code_is_coloured_and_can_be_copied():
    made = html("```python\nfor x in y: pass\n```")
    assert '<span class="hl-k">for</span>' in made
    assert '<button type="button" class="dl-copy">Copy</button>' in made
    assert "x &lt; y" in html("```no-such-language\nx < y\n```")


def test_what_the_model_thought_is_folded():
    made = html("<think>one **two**</think>The answer.")
    assert made.startswith("<details><summary>Thoughts</summary><p>one <strong>two</strong></p>")
    assert made.endswith("</details><p>The answer.</p>\n")
    assert "<details>" in html("<think>still at it")  # while it comes


def test_what_would_reorder_other_text_is_spelled_out():
    assert shown("a\u202eb\u2066c") == "a\\u202eb\\u2066c"
    assert shown("مرحبا") == "مرحبا"  # an honest script stays


def test_a_very_long_text_is_shown_as_it_was_typed():
    assert html("**a** " * 20_000).startswith('<p class="dl-typed">**a**')
