"""Text to terms and sentences, in English and Chinese.

Chinese is written without spaces. Each pair of neighbouring characters is a term, as in Lucene's CJK
analyser, and so is each single one: every word of two or more characters is found without a dictionary.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator

MAX_TERM = 40  # characters of a term; longer ones are cut
RUN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+|[^\W_]+")
HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
# A sentence ends at a mark of its own, with the quotation mark behind it, or at an empty line.
SENTENCE = re.compile(
    r"\S(?:(?!\n\s*\n).)*?"
    r"(?:[。！？；…]+[”’」』）)]*|[.!?]{1,3}[\"'”’)]{0,3}(?=\s)|(?=\n\s*\n)|\Z)",
    re.DOTALL,
)


def terms(text: str) -> list[str]:
    """What a text is found by: lower-case words without their endings, single Han characters and pairs."""
    found: list[str] = []
    for run in RUN.findall(unicodedata.normalize("NFKC", text).lower()):
        for piece in _by_script(run):
            found += _han_terms(piece) if HAN.match(piece) else [_stem(piece)[:MAX_TERM]]
    return found


def content_terms(text: str) -> list[str]:
    """The terms of a question that say what it is about: no function words, each once."""
    cleaned = ASKING.sub(" ", unicodedata.normalize("NFKC", text).lower())
    unsaid = STOPWORDS | {_stem(word) for word in STOPWORDS}
    kept = [term for term in terms(cleaned) if term not in unsaid]
    pairs = "".join(term for term in kept if len(term) == 2 and HAN.match(term))
    # A single character only counts where it is no part of a pair.
    return list(
        dict.fromkeys(term for term in kept if not (len(term) == 1 and HAN.match(term) and term in pairs))
    )


def border_pairs(text: str, occurs: Callable[[str], bool]) -> set[str]:
    """Pairs of Han characters that no document has, between two that some document has.

    Such a pair is the end of one word and the beginning of the next, and says nothing; of a name that no
    document has, neighbouring pairs are missing too.
    """
    cleaned = ASKING.sub(" ", unicodedata.normalize("NFKC", text).lower())
    found: set[str] = set()
    for run in RUN.findall(cleaned):
        for piece in _by_script(run):
            pairs = [piece[i : i + 2] for i in range(len(piece) - 1)] if HAN.match(piece) else []
            there = [occurs(pair) for pair in pairs]
            inner = zip(pairs[1:-1], there, there[1:], there[2:], strict=False)
            found |= {pair for pair, before, here, after in inner if before and after and not here}
    return found


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each sentence, in characters."""
    for found in SENTENCE.finditer(text):
        end = found.start() + len(found[0].rstrip())
        if end > found.start():
            yield found.start(), end


def _by_script(run: str) -> list[str]:
    return re.findall(
        r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+|[^\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+", run
    )


def _han_terms(run: str) -> list[str]:
    return [*run, *(run[i : i + 2] for i in range(len(run) - 1))]


def _stem(word: str) -> str:
    """Plural and verb endings off, as far as is safe without a dictionary (Harman 1991, the S stemmer)."""
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


_STOPWORDS = """
a about an and are as at be by can could did do does done for from had has have how i in
into is it its many may me much my of on or our please shall should tell that the their
there these they this to us was we were what when where which who whom whose why will with
would you your
的 了 是 在 和 与 及 或 有 我 你 他 她 它 们 吗 呢 吧 啊 请 问 被 把 为 以
于 之 其 这 那 个 些 都 也 就 而 所 从 到 对 由 谁 几 何 哪 么
"""
STOPWORDS = frozenset(_STOPWORDS.split())
ASKING = re.compile(
    "什么时候|什么地方|为什么|是什么|什么样|什么|怎么样|怎样|怎么|如何|多少|几个|哪一个|哪一年|哪里|哪儿|哪个|哪些|哪一|哪年|哪|谁|是|"
    "是否|有没有|是不是|请问|请告诉我|告诉我|[的了吗呢吧啊]"
)
