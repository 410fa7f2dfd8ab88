"""Text that somebody or a model wrote, as HTML that only shows it.

Raw HTML in it is text like any other, addresses lead nowhere but to http, https and mail, and images are
links: showing a page fetches nothing. The browser sanitises the result once more.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping, Sequence
from functools import lru_cache
from html import escape
from typing import Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from danlu.serve.studio.formulas import add_formulas
from danlu.tools.visible import whole_unicode

SCHEMES = frozenset({"http", "https", "mailto"})
MOST_FORMATTED = 60_000  # characters; beyond, a text is shown as it was typed
MOST_COLOURED = 20_000  # of one piece of code
# Characters that reorder what stands around them. Each text stands alone (CSS isolates it), but inside it
# they could still make code read as what it is not (Boucher and Anderson 2021, Trojan Source).
REORDERING = re.compile("[\u202a-\u202e\u2066-\u2069]")
THOUGHTS = re.compile(r"\s*<think>(.*?)(?:</think>|\Z)\s*", re.DOTALL)


def rich(text: str, *, copy: str, thoughts: str) -> str:
    """Markdown as HTML.

    Args:
        copy: label of the button that copies code.
        thoughts: heading of what the model thought before its answer, which is folded.
    """
    text = shown(text)
    if len(text) > MOST_FORMATTED:
        return plain(text)
    found = THOUGHTS.match(text)
    if found is None:
        return _formatted(text, copy)
    folded = f"<details><summary>{escape(thoughts)}</summary>{_formatted(found[1], copy)}</details>"
    return folded + _formatted(text[found.end() :], copy)


def plain(text: str) -> str:
    """A text as it was typed, as HTML."""
    return f'<p class="dl-typed">{escape(shown(text))}</p>'


def shown(text: str) -> str:
    """A text with what cannot be sent replaced, and what would reorder other characters spelled out."""
    return REORDERING.sub(lambda found: f"\\u{ord(found[0]):04x}", whole_unicode(text)).replace(
        "\0", "\ufffd"
    )


def _formatted(text: str, copy: str) -> str:
    return _markdown().render(text, {"copy": copy})


@lru_cache(maxsize=1)
def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False, "breaks": True, "maxNesting": 20})
    markdown.enable(["table", "strikethrough"]).disable(["image", "html_block", "html_inline"])
    add_formulas(markdown)
    markdown.validateLink = _is_harmless
    markdown.add_render_rule("fence", _code)
    markdown.add_render_rule("code_block", _code)
    markdown.add_render_rule("link_open", _link)
    markdown.add_render_rule("table_open", _table)
    markdown.add_render_rule("table_close", _table_end)
    return markdown


def _is_harmless(url: str) -> bool:
    try:
        return urlsplit(url.strip()).scheme.lower() in SCHEMES
    except ValueError:
        return False


Tokens = Sequence[Token]
Env = MutableMapping[str, Any]


def _code(_: RendererHTML, tokens: Tokens, at: int, options: OptionsDict, env: Env) -> str:
    token = tokens[at]
    language = token.info.strip().partition(" ")[0][:30]
    return (
        f'<div class="dl-code"><div class="dl-code-head"><span>{escape(language)}</span>'
        f'<button type="button" class="dl-copy">{escape(env["copy"])}</button></div>'
        f'<pre tabindex="0"><code>{_coloured(token.content, language)}</code></pre></div>'
    )


def _coloured(code: str, language: str) -> str:
    if not language or len(code) > MOST_COLOURED:
        return escape(code)
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        return escape(code)
    return highlight(code, lexer, HtmlFormatter(nowrap=True, classprefix="hl-"))


def _link(renderer: RendererHTML, tokens: Tokens, at: int, options: OptionsDict, env: Env) -> str:
    tokens[at].attrSet("rel", "noopener noreferrer nofollow")
    return renderer.renderToken(tokens, at, options, env)


def _table(*_: object) -> str:
    return '<div class="dl-table" tabindex="0"><table>'


def _table_end(*_: object) -> str:
    return "</table></div>"
