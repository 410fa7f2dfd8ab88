"""Reasoning apart from the answer, and the answer that most chains of thought agree on.

Chain of thought: Wei et al. 2022. Self-consistency, a vote over sampled chains: Wang et al. 2022, section 2.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

INSTRUCTION = {
    "en": "Think step by step. Then write “Answer:” and the answer alone.",
    "zh": "请一步一步地想，最后写“答案：”和答案本身。",
}
# Where an answer begins; of several places the last counts, as a chain may weigh answers on its way.
LEADS = re.compile(
    r"</think>|####|\bfinal answer(?: is)?\s*[:：]?|\b(?:the )?answer(?: is)?\s*[:：]|\bthe answer is\b"
    r"|(?:最终)?答案(?:是|为|[:：])|答\s*[:：]",
    re.IGNORECASE,
)
NUMBER = re.compile(r"[-−+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?(?!\d)")
RESULT = re.compile(rf"=\s*({NUMBER.pattern})\s*[.。]?\s*$")  # of a calculation that ends a text
LEAD_IN = re.compile(
    r"^(?:it is|it's|that is|that makes|so|therefore|hence|thus|is|等于|所以|因此|是|为|得)[\s,，:：]*"
)


@dataclass(frozen=True, slots=True)
class Thought:
    """What a model wrote, with its reasoning apart."""

    reasoning: str
    answer: str  # empty where none was reached


@dataclass(frozen=True, slots=True)
class Vote:
    """The answer of most chains; of equally many, that which came first."""

    answer: str  # as the first of its chains worded it; empty if no chain had an answer
    n_votes: int
    n_chains: int
    tally: Sequence[tuple[str, int]]  # every answer in its normalised form, the most frequent first

    @property
    def share(self) -> float:
        """Of all chains, also those without an answer."""
        return self.n_votes / self.n_chains


def think(text: str, *, cut: bool = False) -> Thought:
    """Tell reasoning from answer.

    The answer follows the last lead, such as "Answer:", "答案：", "####", "</think>" or "the answer is".
    Without one it is the number in which a calculation ends; else the last of several lines; a single line is
    all answer. A text that the length limit cut before a lead has none.
    """
    leads = [lead for lead in LEADS.finditer(text) if text[lead.end() :].strip(" \t\n.。*")]
    if leads:
        reasoning = text[: leads[-1].start()].strip().removeprefix("<think>").strip()
        return Thought(reasoning, _first_paragraph(text[leads[-1].end() :]))
    if cut or text.lstrip().startswith("<think>"):
        return Thought(text.strip(), "")
    if result := RESULT.search(text):
        return Thought(text.strip(), result[1])
    *before, last = text.strip().splitlines() or [""]
    return Thought("\n".join(before).strip(), last.strip())


def vote(thoughts: Sequence[Thought]) -> Vote:
    """Count equal answers; at least one thought."""
    forms = [normalised(thought.answer) for thought in thoughts]
    tally = Counter(form for form in forms if form)
    if not tally:
        return Vote("", 0, len(thoughts), [])
    ranked = tally.most_common()  # of equally many, the one met first stands first
    best, n_votes = ranked[0]
    return Vote(thoughts[forms.index(best)].answer, n_votes, len(thoughts), ranked)


def normalised(answer: str) -> str:
    """The form by which answers are compared: no capitals, quotes, lead-in or final mark, numbers in one way.

    1,234.50 and １２３４.5 become 1234.5; 2/4 becomes 0.5; 1/3 stays 1/3.
    """
    text = unicodedata.normalize("NFKC", answer).casefold().strip()
    text = re.sub(r"[\s*_`\"'“”‘’「」$]+", " ", text).strip(" .。!！,，;；:：")
    text = LEAD_IN.sub("", text).strip()
    return re.sub(r"\s+", " ", NUMBER.sub(_plain_number, text))


def _first_paragraph(text: str) -> str:
    return text.strip(" \t\n:：*").split("\n\n")[0].strip()


def _plain_number(found: re.Match[str]) -> str:
    text = found[0].replace(",", "").replace("−", "-").removeprefix("+")
    if "/" in text and not int(text.rpartition("/")[2]):
        return text
    upper, _, lower = text.partition("/")
    value = Fraction(upper) / Fraction(lower or "1")
    return _decimal(value)


def _decimal(value: Fraction) -> str:
    """Without trailing zeros; a fraction that never ends stays one."""
    rest, places = value.denominator, 0
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
            places += 1
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    digits = f"{abs(value.numerator) * 10**places // value.denominator:0{places + 1}d}"
    whole = digits if not places else f"{digits[:-places]}.{digits[-places:]}".rstrip("0").rstrip(".")
    return f"{'-' * (value < 0)}{whole}"
