"""LaTeX in a text as MathML, which browsers draw by themselves: no script, no font, nothing is fetched.

Only known elements and harmless attributes pass, so whatever a formula says, it is shown and does nothing.
A formula that cannot be read stays as it was written.
"""

from __future__ import annotations

import re
from functools import lru_cache
from html import escape, unescape
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, tostring

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline

LONGEST = 2000  # characters of one formula
DEEPEST = 40  # braces within braces
# A definition can be used in another twice, and that again: a short text would become an endless formula.
DEFINING = re.compile(r"\\(?:re|provide)?newcommand|\\(?:renew|provide)command|\\[egx]?def\b|\\let\b")
# Between dollars no space stands at either end and no digit after them: "$5 and $6" is money.
INLINE = (
    re.compile(r"\\\((.+?)\\\)", re.DOTALL),
    re.compile(r"\$\$(.+?)\$\$", re.DOTALL),
    re.compile(r"\\\[(.+?)\\\]", re.DOTALL),
    re.compile(r"\$(?![\s$])((?:[^$\\\n]|\\.)+?)(?<!\s)\$(?!\d)"),
)
BLOCK = {"$$": "$$", "\\[": "\\]"}
ELEMENTS = frozenset(
    [
        *("math", "mrow", "mi", "mo", "mn", "ms", "mtext", "mspace", "mfrac", "msqrt", "mroot", "mstyle"),
        *("mpadded", "mphantom", "menclose", "merror", "msub", "msup", "msubsup", "munder", "mover"),
        *("munderover", "mmultiscripts", "mprescripts", "none", "mtable", "mtr", "mtd"),
    ]
)
ATTRIBUTES = frozenset(
    [
        *("display", "displaystyle", "scriptlevel", "mathvariant", "stretchy", "fence", "form", "separator"),
        *("accent", "accentunder", "linethickness", "columnalign", "rowspacing", "columnspacing"),
        *("columnlines", "rowlines", "movablelimits", "minsize", "maxsize", "lspace", "rspace", "width"),
        *("height", "depth", "notation", "largeop", "symmetric"),
    ]
)


def add_formulas(markdown: MarkdownIt) -> None:
    """Have Markdown read formulas between dollars, and between backslashed brackets."""
    markdown.inline.ruler.before("escape", "formula", _inline)
    markdown.block.ruler.before(
        "fence", "formula_block", _block, {"alt": ["paragraph", "blockquote", "list"]}
    )
    markdown.add_render_rule("formula", _render)


@lru_cache(maxsize=1000)
def mathml(latex: str, *, display: bool) -> str | None:
    """A formula as MathML; None if it is none, or too large, or latex2mathml is not installed."""
    if not find_spec("latex2mathml") or not latex.strip() or _is_too_much(latex):
        return None
    converter: Any = import_module("latex2mathml.converter")
    try:
        made: Element = converter.convert_to_element(latex, display="block" if display else "inline")
    except _faults():
        return None
    return _serialised(made)


def _is_too_much(latex: str) -> bool:
    deep, deepest = 0, 0
    for char in latex:
        deep += (char == "{") - (char == "}")
        deepest = max(deepest, deep)
    return len(latex) > LONGEST or deepest > DEEPEST or DEFINING.search(latex) is not None


@lru_cache(maxsize=1)
def _faults() -> tuple[type[Exception], ...]:
    """What the library raises of a formula that it cannot read: errors of its own, and its slips."""
    own = vars(import_module("latex2mathml.exceptions")).values()
    named = [each for each in own if isinstance(each, type) and issubclass(each, Exception)]
    return (*named, LookupError, ValueError, TypeError, AttributeError, RuntimeError, StopIteration)


def _serialised(made: Element) -> str | None:
    for element in made.iter():
        if element.tag not in ELEMENTS:
            return None
        # The library spells characters as references, which are text to whoever writes the tree out.
        element.text = None if element.text is None else unescape(element.text)
        element.tail = None if element.tail is None else unescape(element.tail)
        for name in [each for each in element.attrib if each not in ATTRIBUTES]:
            del element.attrib[name]
    return tostring(made, encoding="unicode")


def _inline(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] not in "$\\":
        return False
    for pattern in INLINE:
        found = pattern.match(state.src, state.pos, state.posMax)
        if found is not None:
            if not silent:
                _push(state, found[1], found[0])
            state.pos = found.end()
            return True
    return False


def _push(state: StateInline | StateBlock, latex: str, written: str, *, block: bool = False) -> None:
    token = state.push("formula", "math", 0)
    token.content, token.markup = latex, written
    token.block = block
    token.meta = {"display": block or written.startswith(("$$", "\\["))}


def _block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A formula of several lines: its content is no Markdown, whatever it looks like."""
    first = state.src[state.bMarks[start] + state.tShift[start] : state.eMarks[start]].rstrip()
    closing = BLOCK.get(first[:2])
    if closing is None:
        return False
    last = next((line for line in range(start, end) if _ends(state, line, start, closing)), None)
    if last is None:
        return False
    if not silent:
        text = state.getLines(start, last + 1, state.blkIndent, False).strip()
        _push(state, text[2:-2], text, block=True)
        state.line = last + 1
    return True


def _ends(state: StateBlock, line: int, start: int, closing: str) -> bool:
    text = state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]].rstrip()
    return text.endswith(closing) and (line > start or len(text) >= 4)


def _render(_: Any, tokens: Any, at: int, options: Any, env: Any) -> str:
    token = tokens[at]
    made = mathml(token.content, display=token.meta["display"])
    if made is None:
        made = f"<code>{escape(token.markup)}</code>"
    return f'<p class="dl-formula" tabindex="0">{made}</p>\n' if token.block else made
