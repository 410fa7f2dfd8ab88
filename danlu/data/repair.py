"""What can be mended in a text: characters, mojibake, markup, and clutter around it."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Collection

import ftfy

from danlu.data.clutter import drop_advertising, drop_frame


def repair(text: str, names: Collection[str]) -> tuple[str, list[str]]:
    """The mended text, and which of the named repairs found something to mend."""
    done: list[str] = []
    for name, mend in REPAIRS:
        mended = mend(text) if name in names else text
        if mended != text:
            done.append(name)
            text = mended
    return tidy(text), done


def tidy(text: str) -> str:
    """NFC, plain line breaks, no invisible characters, no blanks at line ends, at most one empty line."""
    if UNTIDY.search(text):
        text = INVISIBLE.sub("", LINE_BREAK.sub("\n", text)).replace("\u00a0", " ")
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    if " \n" in text or "\t\n" in text or "\u3000\n" in text:
        text = BLANK_ENDS.sub("", text)
    return (EMPTY_LINES.sub("\n\n", text) if "\n\n\n" in text else text).strip()


def undo_mojibake(text: str) -> str:
    """Undo UTF-8 that was read as Latin-1, Windows-1252 or GBK, wherever nothing was lost."""
    if READ_AS_LATIN.search(text):
        text = NOT_HAN.sub(lambda match: _from_latin(match[0]), text)
    if READ_AS_GBK.search(text):
        text = NOT_ASCII.sub(lambda match: _from_gbk(match[0]), text)
    return text


def _from_latin(text: str) -> str:
    # A closing quote has no character in Windows-1252; nothing else leaves this trace.
    return ftfy.fix_encoding(text.replace("â€\ufffd", "”")) if READ_AS_LATIN.search(text) else text


def _from_gbk(text: str) -> str:
    try:
        return text.encode("gb18030").decode("utf-8")
    except UnicodeError:
        return text


def strip_markup(text: str) -> str:
    """Text without HTML, wiki and forum markup, and with entities spelled out; fenced code stays as it is."""
    parts = text.split(CODE_FENCE)
    return CODE_FENCE.join([_without_markup(part) if i % 2 == 0 else part for i, part in enumerate(parts)])


def _without_markup(text: str) -> str:
    if "<" in text:
        text = INLINE_TAG.sub("", BREAKING_TAG.sub("\n", EMPTY_LINK.sub("", _without_elements(text))))
    if "[[" in text or "{{" in text or "'''" in text or "__" in text or "==" in text:
        text = WIKI_LINK.sub(lambda match: match[1], WIKI_DROPPED.sub("", text))
        text = WIKI_HEADING.sub("", text.replace("'''", ""))
    if "[/" in text:
        text = FORUM_TAG.sub("", text)
    # Pages write &nbsp; beside a blank to make it wide.
    return WIDE_BLANK.sub(" ", html.unescape(text)) if ENTITY.search(text) else text


def _without_elements(text: str) -> str:
    """Text without comments, scripts and the like; one that is never closed stays."""
    pieces: list[str] = []
    unclosed: set[str | None] = set()
    at = 0
    for opening in OPENING.finditer(text):
        name = opening[1].lower() if opening[1] else None
        if opening.start() < at or name in unclosed:
            continue
        if closing := CLOSING[name].search(text, opening.end()):
            pieces.append(text[at : opening.start()])
            at = closing.end()
        else:
            unclosed.add(name)
    return "".join([*pieces, text[at:]])


REPAIRS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("mojibake", undo_mojibake),
    ("markup", strip_markup),
    ("boilerplate", drop_frame),
    ("advertisement", drop_advertising),
)

CODE_FENCE = "```"
LINE_BREAK = re.compile(r"\r\n?|[\u2028\u2029\u0085\f\v]")
# Control characters, zero-width ones, soft hyphens, byte-order marks, lone surrogates.
INVISIBLE = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u2060\u202a-\u202e\ufeff\ud800-\udfff]"
)
UNTIDY = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\xa0\u00ad\u200b\u2028-\u202e\u2060\ufeff\ud800-\udfff]")
BLANK_ENDS = re.compile(r"[ \t\u3000]+$", re.MULTILINE)
EMPTY_LINES = re.compile(r"\n{3,}")

# First byte of a multi-byte character, then a continuation byte, as Latin-1 or Windows-1252 shows them.
READ_AS_LATIN = re.compile(r"[\u00c2-\u00f4][\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ\ufffd]")
NOT_HAN = re.compile(r"[^\u2e80-\u9fff\uf900-\uffef]+")
# What the commonest characters and punctuation of Chinese become: 的, 是, 在, 不, comma, full stop, 我, 你, …
READ_AS_GBK = re.compile(r"[鐨鏄鍦涓锛銆鍜浜浠鎴浣寰][^\x00-\x7f]")
NOT_ASCII = re.compile(r"[^\x00-\x7f]{3,}")

TAGS = (
    "a|abbr|article|aside|b|big|blockquote|body|button|center|code|dd|div|dl|dt|em|fieldset|figcaption|figure|"
    "font|footer|form|h[1-6]|head|header|html|i|iframe|img|input|label|li|link|main|meta|nav|noscript|ol|option|"
    "p|pre|ref|s|section|select|small|span|strike|strong|sub|sup|svg|table|tbody|td|textarea|tfoot|th|thead|"
    "title|tr|u|ul|video"
)
BREAKING = (
    "article|blockquote|br|center|dd|div|dl|dt|footer|form|h[1-6]|header|hr|li|ol|p|section|table|td|th|tr|ul"
)
# Elements that go with what they hold.
OPENING = re.compile(r"<!--|<(script|style|ref)\b[^<>]*>", re.IGNORECASE)
CLOSING = {
    name: re.compile(closing, re.IGNORECASE)
    for name, closing in (
        (None, "-->"),
        ("script", r"</script\s?>"),
        ("style", r"</style\s?>"),
        ("ref", "</ref>"),
    )
}
# Blanks are bounded so that a long run of them costs no more than its length.
BREAKING_TAG = re.compile(rf"\s{{0,8}}</?(?:{BREAKING})(?:\s[^<>]*)?/?>\s{{0,8}}", re.IGNORECASE)
EMPTY_LINK = re.compile(r"<!DOCTYPE[^<>]*>|<a\b[^<>]*>[^\w<]{0,3}</a>", re.IGNORECASE)
INLINE_TAG = re.compile(rf"</?(?:{TAGS})(?:\s[^<>]*)?/?>", re.IGNORECASE)
ENTITY = re.compile(r"&(?:[a-zA-Z]{2,8}|#\d{1,6}|#x[0-9a-fA-F]{1,6});")
WIDE_BLANK = re.compile(r"[ \u00a0]?\u00a0[ \u00a0]?")
WIKI_DROPPED = re.compile(
    r"\{\{[^{}]*\}\}\n?|\[\[(?:Category|File|Image|分类|文件|图像):[^\]]*\]\]\n?|__[A-Z]{3,}__\n?",
    re.IGNORECASE,
)
WIKI_LINK = re.compile(r"\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]")
WIKI_HEADING = re.compile(r"^==+ *([^=\n]+?) *==+ *\n?", re.MULTILINE)
FORUM_TAG = re.compile(r"\[/?(?:b|i|u|s|url|img|quote|code|color|size|list)(?:=[^\]\n]*)?\]", re.IGNORECASE)
