"""What a data set is like: its languages, how long its records are, and which of them repeat others.

Of a large set a sample is measured, records that stand evenly spread in it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from danlu.data.dedup import NearDuplicateConfig, NearDuplicates, digest
from danlu.data.language import identify
from danlu.serve.studio.data_sets import DataSet, records, text_of
from danlu.tokenizer.interface import TextTokenizer

N_MEASURED = 5000  # records
N_CHARS = 4000  # of each that are compared
N_GROUPS = 50  # of repeated records that are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """Records that say the same, or nearly."""

    numbers: Sequence[int]  # from 1, the first of them first
    exact: bool
    beginning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What was measured."""

    n_measured: int
    languages: Mapping[str, int]  # records, the commonest first
    lengths: Sequence[tuple[int, int]]  # from how long, and how many records
    in_tokens: bool  # the unit of the lengths: tokens, or else characters
    median: int
    longest: int
    n_exact: int  # records that repeat an earlier one but for case and blanks
    n_near: int  # those that nearly do
    repeats: Sequence[Repeats]


def measure(data_set: DataSet, tokenizer: TextTokenizer | None) -> Measures:
    """Measure a data set; remembered for as long as it stays the same."""
    return _measure(data_set, tokenizer)


@lru_cache(maxsize=32)
def _measure(data_set: DataSet, tokenizer: TextTokenizer | None) -> Measures:
    step = max(1, math.ceil((data_set.n_records or 0) / N_MEASURED))
    lengths: list[int] = []
    languages: Counter[str] = Counter()
    texts: list[tuple[int, bytes, str]] = []
    for record in records(data_set, step=step):
        text = text_of(record, tokenizer)
        told = record.tree.get("lang")
        languages[told if isinstance(told, str) and told else identify(text)] += 1
        lengths.append(int(record.tree["n_tokens"]) if record.ids else len(text))
        texts.append((record.number, digest(text), text[:N_CHARS]))
    exact = _exact(texts)
    near = _near(texts, {number for each in exact for number in each.numbers[1:]})
    return Measures(
        n_measured=len(lengths),
        languages=dict(languages.most_common(12)),
        lengths=columns(lengths),
        in_tokens=data_set.kind == "shards",
        median=sorted(lengths)[len(lengths) // 2] if lengths else 0,
        longest=max(lengths, default=0),
        n_exact=sum(len(each.numbers) - 1 for each in exact),
        n_near=sum(len(each.numbers) - 1 for each in near),
        repeats=sorted((*exact, *near), key=lambda each: -len(each.numbers))[:N_GROUPS],
    )


def columns(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """How many lengths lie from each of 0, 1, 2, 4, 8, … to below the next."""
    places = Counter(n.bit_length() for n in lengths)
    if not places:
        return []
    return [(1 << at >> 1, places[at]) for at in range(min(places), max(places) + 1)]


def _exact(texts: Sequence[tuple[int, bytes, str]]) -> list[Repeats]:
    groups: dict[bytes, list[int]] = {}
    first: dict[bytes, str] = {}
    for number, key, text in texts:
        groups.setdefault(key, []).append(number)
        first.setdefault(key, text)
    return [
        Repeats(numbers=numbers, exact=True, beginning=first[key][:200])
        for key, numbers in groups.items()
        if len(numbers) > 1
    ]


def _near(texts: Sequence[tuple[int, bytes, str]], left_out: set[int]) -> list[Repeats]:
    """Near duplicates among the records that are no exact ones."""
    kept = [each for each in texts if each[0] not in left_out]
    near = NearDuplicates(NearDuplicateConfig())
    for _, _, text in kept:
        near.add(text)
    groups: dict[int, list[int]] = {}
    for at, earlier in enumerate(near.repeats().tolist()):
        if earlier >= 0:
            groups.setdefault(earlier, [kept[earlier][0]]).append(kept[at][0])
    return [
        Repeats(numbers=numbers, exact=False, beginning=kept[at][2][:200]) for at, numbers in groups.items()
    ]
