"""How right the tools are on questions nobody here made up: sums of GSM8K, questions with passages.

    python bench/tools.py DATA    the folder that holds eval_gsm8k, qa_xquad, qa_cmrc2018 and qa_drcd

A sum is right if the calculator gives the value of the data set's own annotation `<<3*4=12>>`. A question is
answered if one of the accepted answers stands in a cited sentence; where the index lacks its passage, silence
is right.
"""

from __future__ import annotations

import gzip
import json
import math
import random
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from danlu.tools.calculator.arithmetic import Quantity
from danlu.tools.calculator.evaluate import evaluate
from danlu.tools.calculator.syntax import Equation, parse
from danlu.tools.error import ToolError
from danlu.tools.search.answer import Answer, ask, verify
from danlu.tools.search.index import Index, SearchError

MAX_ASKED = 1000  # questions of a set; more say no more
ANNOTATION = re.compile(r"<<([^<>=]+)=([^<>]+)>>")


def main() -> None:
    data = Path(sys.argv[1])
    sums(data / "eval_gsm8k" / "open.test.jsonl.gz")
    for lang in ("en", "zh"):
        citations(f"XQuAD {lang}", *xquad(data / "qa_xquad", lang))
    for name in ("qa_cmrc2018", "qa_drcd"):
        citations(name, *chinese(data / name))


def records(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def sums(path: Path) -> None:
    asked = [found for record in records(path) for found in ANNOTATION.findall(record["answer"])]
    wrong = [(left, right) for left, right in asked if not is_right(left, right)]
    print(f"GSM8K: {share(len(asked) - len(wrong), len(asked))} sums", flush=True)
    for left, right in wrong[:20]:
        print(f"  {left} = {right}")


def is_right(expression: str, expected: str) -> bool:
    """Equal, or equal to the digits that the annotation gives."""
    try:
        ((ours,), (theirs,)) = parse(expression), parse(expected)
        assert not isinstance(ours, Equation)
        assert not isinstance(theirs, Equation)
        value, wanted = evaluate(ours), evaluate(theirs)
    except ToolError:
        return False
    assert isinstance(value, Quantity)
    assert isinstance(wanted, Quantity)
    places = len(expected.partition(".")[2])
    return abs(Fraction(value.value) - Fraction(wanted.value)) <= Fraction(1, 2 * 10**places) * bool(places)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, the passage that answers it, and the answers that are accepted."""

    question: str
    pid: str
    answers: list[str]


def xquad(folder: Path, lang: str) -> tuple[dict[str, str], list[Asked]]:
    passages = {each["pid"]: each[lang] for each in records(folder / "open.passages.jsonl.gz")}
    asked = [
        Asked(each[f"question_{lang}"], each["pid"], each[f"answers_{lang}"])
        for each in records(folder / "open.questions.jsonl.gz")
    ]
    return passages, asked


def chinese(folder: Path) -> tuple[dict[str, str], list[Asked]]:
    """CMRC 2018 or DRCD: passages of Wikipedia, simplified or traditional."""
    passages = {each["pid"]: each["text"] for each in records(folder / "open.passages.jsonl.gz")}
    asked = [
        Asked(each["question"], each["pid"], each["answers"])
        for each in records(folder / "open.questions.jsonl.gz")
    ]
    return passages, random.Random(0).sample(asked, min(MAX_ASKED, len(asked)))


def citations(name: str, passages: dict[str, str], asked: list[Asked]) -> None:
    titles = {title(pid) for pid in passages}
    kept = set(sorted(titles)[::2])  # every other article; of the others nothing is in the half index
    half = {pid: text for pid, text in passages.items() if title(pid) in kept}
    strangers = [each for each in asked if title(each.pid) not in kept]
    with indexed(passages) as index:
        answers = [checked(index, each.question) for each in asked]
    with indexed(half) as index:
        silent = sum(not checked(index, each.question).citations for each in strangers)
    pairs = list(zip(answers, asked, strict=True))
    quoted = sum(len(answer.citations) for answer in answers)
    cited = sum(bool(answer.citations) for answer in answers)
    passage = sum(any(names(c.place, each.pid) for c in answer.citations) for answer, each in pairs)
    first, any_of = (sum(holds(answer, each.answers, n) for answer, each in pairs) for n in (1, 3))
    n = len(asked)
    print(f"{name}: cites something {share(cited, n)}; {quoted} quotations, all verbatim and in their place")
    print(f"  one of three quotations is from the passage asked about {share(passage, n)}")
    print(f"  the answer stands in the first quotation {share(first, n)}, in one of three {share(any_of, n)}")
    print(f"  silent where its article is missing {share(silent, len(strangers))}", flush=True)


def title(pid: str) -> str:
    """The article of a passage; where ids do not tell, the passage itself."""
    return pid.rpartition("-")[0] if pid.startswith("xquad") else pid


def names(place: str, pid: str) -> bool:
    return f"{pid.replace('/', '_')}.txt" in place


class indexed:
    """An index of some texts, for as long as it is needed."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        for name, text in texts.items():
            (Path(self._folder.name) / f"{name.replace('/', '_')}.txt").write_text(text, encoding="utf-8")

    def __enter__(self) -> Index:
        index = Index.of(Path(self._folder.name))
        index.update()
        return index

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


def checked(index: Index, question: str) -> Answer:
    """The answer, each of its citations looked up again; a question of function words alone has none."""
    try:
        answer = ask(index, question)
    except SearchError:
        return Answer(question, (), ())
    for citation in answer.citations:
        verify(index, citation)
    return answer


def holds(answer: Answer, accepted: list[str], n: int) -> bool:
    return any(each in citation.quote for citation in answer.citations[:n] for each in accepted)


def share(count: int, n: int) -> str:
    """A proportion with Wilson's 95 % interval."""
    p, z = count / n, 1.96
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
    return f"{100 * p:.1f} % [{100 * max(low, 0):.1f}, {100 * high:.1f}] of {n}"


if __name__ == "__main__":
    main()
