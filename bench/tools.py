"""How right the tools are on questions nobody here made up: sums of GSM8K, questions about XQuAD's passages.

    python bench/tools.py DATA    the folder that holds eval_gsm8k and qa_xquad

A sum is right if the calculator gives the value of the data set's own annotation `<<3*4=12>>`. A question is
answered if one of the accepted answers stands in a cited sentence; where the index lacks its passage, silence
is right.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import sys
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from danlu.tools.calculator.arithmetic import Quantity
from danlu.tools.calculator.evaluate import evaluate
from danlu.tools.calculator.syntax import Equation, parse
from danlu.tools.error import ToolError
from danlu.tools.search.answer import Answer, ask, verify
from danlu.tools.search.index import Index

ANNOTATION = re.compile(r"<<([^<>=]+)=([^<>]+)>>")


def main() -> None:
    data = Path(sys.argv[1])
    sums(data / "eval_gsm8k" / "open.test.jsonl.gz")
    for lang in ("en", "zh"):
        citations(data / "qa_xquad", lang)


def records(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def sums(path: Path) -> None:
    asked = [found for record in records(path) for found in ANNOTATION.findall(record["answer"])]
    wrong = [(left, right) for left, right in asked if not is_right(left, right)]
    print(f"GSM8K: {len(asked) - len(wrong)} of {len(asked)} sums")
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


def citations(folder: Path, lang: str) -> None:
    passages = {each["pid"]: each[lang] for each in records(folder / "open.passages.jsonl.gz")}
    questions = list(records(folder / "open.questions.jsonl.gz"))
    titles = {pid.rpartition("-")[0] for pid in passages}
    kept = set(sorted(titles)[::2])  # every other article; of the others nothing is in the half index

    half = {pid: text for pid, text in passages.items() if pid.rpartition("-")[0] in kept}
    strangers = [each for each in questions if each["pid"].rpartition("-")[0] not in kept]
    with indexed(passages) as index:
        answers = [checked(index, each[f"question_{lang}"]) for each in questions]
    with indexed(half) as index:
        silent = sum(not checked(index, each[f"question_{lang}"]).citations for each in strangers)
    pairs = [(answer, each[f"answers_{lang}"]) for answer, each in zip(answers, questions, strict=True)]
    cited = sum(bool(answer.citations) for answer in answers)
    first, any_of = (sum(holds(answer, accepted, n) for answer, accepted in pairs) for n in (1, 3))
    n = len(questions)
    print(f"XQuAD {lang}: cites something {share(cited, n)}")
    print(f"  the answer stands in the first quotation {share(first, n)}, in one of three {share(any_of, n)}")
    print(f"  silent where its article is missing {share(silent, len(strangers))}")


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
    """The answer, each of its citations looked up again."""
    answer = ask(index, question)
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
    return f"{100 * p:.1f} % [{100 * low:.1f}, {100 * high:.1f}] of {n}"


if __name__ == "__main__":
    main()
