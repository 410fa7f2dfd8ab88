"""Labelled examples as rows of ids: GPT-1's start, delimiter and extract tokens, BERT's pairs, windows.

Padding stands at the right, so a decoder, which reads a row at its last token, needs no mask to ignore it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import accumulate, chain
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from danlu.data.examples import Example, Kind, joined_words
from danlu.data.packing import check_identity
from danlu.data.records import DataError
from danlu.tokenizer.reader import Span, TextReader

POOL = 16  # batches whose examples are sorted by length, so that little is padding
MOST_QUESTION = 64  # tokens of a question that are read


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledBatch:
    """Rows of texts and the answers wanted of them; an item is one row, or one for each choice or order."""

    kind: Kind
    input_ids: Tensor  # (rows, seq) int64
    segment_ids: Tensor  # (rows, seq) int64: 1 in padding, 0 elsewhere
    type_ids: Tensor | None  # (rows, seq) int64: 1 in the second text; None for a decoder
    end_index: Tensor  # (rows,) int64: place of the row's last token
    item_ids: Tensor  # (rows,) int64: which item a row belongs to, counted from 0
    targets: Tensor  # (items,) classes or numbers; spans (items, 2); tags (rows, seq)
    answer_mask: Tensor  # (rows, seq) bool: True where a span may begin or end, or a word is tagged
    loss_mask: Tensor  # (rows, seq) bool: True where a next token follows, for the auxiliary loss

    @property
    def inputs(self) -> tuple[Tensor, None, Tensor | None, Tensor | None]:
        """Arguments of a classifier's `hidden`."""
        return self.input_ids, None, None if self.type_ids is None else self.segment_ids, self.type_ids

    @property
    def target_ids(self) -> Tensor:
        """The next token at each position, (rows, seq)."""
        return self.input_ids.roll(-1, dims=1)

    @property
    def is_text(self) -> Tensor:
        """True where there is no padding, (rows, seq)."""
        return self.segment_ids == 0

    @property
    def n_items(self) -> int:
        return int(self.item_ids[-1]) + 1

    @property
    def n_answers(self) -> Tensor:
        """Units that the loss counts: tagged words, or items."""
        return self.answer_mask.sum() if self.kind == "tag" else torch.tensor(self.n_items)

    def __len__(self) -> int:
        return len(self.input_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of ids."""

    ids: list[int]
    second: int  # where the second text begins; the row's length if there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One example as a model reads it; a long passage is several."""

    number: int  # of the example
    rows: list[Row]
    target: int | float | tuple[int, int] | list[int] = 0
    places: list[int] = field(default_factory=list)  # where a span may begin or end, or a word is tagged
    spans: list[Span] = field(default_factory=list)  # characters of the passage at those places; empty = none

    @property
    def length(self) -> int:
        return max(len(row.ids) for row in self.rows)


@dataclass(slots=True)
class Cut:
    """How much of the texts did not fit."""

    n_examples: int = 0
    n_tokens: int = 0

    def count(self, before: int, after: int) -> None:
        self.n_examples += before > after
        self.n_tokens += before - after


@dataclass(frozen=True, slots=True, kw_only=True)
class Arranger:
    """How examples become items."""

    reader: TextReader
    kind: Kind
    max_len: int  # tokens of a row
    both_ways: bool  # for an encoder
    keep: Literal["start", "end"] = "start"  # of a text that is too long
    labels: tuple[str, ...] = ()  # none where the answer is a number
    mean: float = 0.0  # of the numbers in training, which targets are shifted and divided by
    deviation: float = 1.0
    cut: Cut = field(default_factory=Cut)

    def __post_init__(self) -> None:
        if self.max_len < 8:
            raise DataError(f"max_len is {self.max_len}; a row of less than 8 tokens holds no text")

    def arrange(self, rows: Sequence[Example]) -> list[Item]:
        """The items of some examples, in their order."""
        make = ARRANGE[self.kind]
        return [item for number, row in enumerate(rows) for item in make(self, number, row)]

    def row(self, first: Sequence[int], second: Sequence[int] | None = None) -> Row:
        """start, first text, and if there is a second, delimiter and that; end."""
        marks = self.reader.marks
        ids = [marks.start, *first]
        if second is None:
            return Row(ids=[*ids, marks.end], second=len(ids) + 1)
        ids.append(marks.delimiter)
        return Row(ids=[*ids, *second, marks.end], second=len(ids))

    def target(self, row: Example) -> int | float:
        """The class's number, or the number in units of its deviation."""
        if row.label is None:
            return 0
        if self.labels:
            return self.labels.index(row.label)
        return (float(row.label) - self.mean) / self.deviation

    def shortened(self, texts: Sequence[list[int]], room: int) -> list[list[int]]:
        """Texts that fit into `room` together; the longest gives way first, as in BERT's code."""
        sizes = [len(text) for text in texts]
        while sum(sizes) > room:
            longest = sizes.index(max(sizes))
            others = sum(sizes) - sizes[longest]
            second = max((size for i, size in enumerate(sizes) if i != longest), default=0)
            sizes[longest] = max(min(room - others, sizes[longest] - 1), min(second, sizes[longest] - 1))
        self.cut.count(sum(map(len, texts)), sum(sizes))
        pairs = zip(texts, sizes, strict=True)
        return [text[:n] if self.keep == "start" else text[len(text) - n :] for text, n in pairs]


def arrange_class(arranger: Arranger, number: int, row: Example) -> list[Item]:
    """One row: a text, or two with the delimiter between them."""
    ids = arranger.reader.encode(row.texts)
    texts = arranger.shortened(ids, arranger.max_len - 1 - len(ids))
    return [Item(number=number, rows=[arranger.row(*texts)], target=arranger.target(row))]


def arrange_similarity(arranger: Arranger, number: int, row: Example) -> list[Item]:
    """Both orders, for a decoder: neither text comes first by nature (Radford et al. 2018, section 3.3)."""
    if len(row.texts) != 2:
        raise DataError(f"{row.where}: holds one text; similarity needs two, text_a and text_b")
    first, second = arranger.shortened(arranger.reader.encode(row.texts), arranger.max_len - 3)
    rows = [arranger.row(first, second)]
    if not arranger.both_ways:
        rows.append(arranger.row(second, first))
    return [Item(number=number, rows=rows, target=arranger.target(row))]


def arrange_choice(arranger: Arranger, number: int, row: Example) -> list[Item]:
    """A row for each choice, after the prompt; all see the same part of the prompt."""
    prompt, *choices = arranger.reader.encode([*row.texts, *row.choices])
    room = arranger.max_len - 3
    before = sum(map(len, choices)) + len(prompt)
    choices = [choice[: room // 2] for choice in choices]
    left = room - max(map(len, choices))
    prompt = prompt[:left] if arranger.keep == "start" else prompt[max(0, len(prompt) - left) :]
    arranger.cut.count(before, sum(map(len, choices)) + len(prompt))
    target = 0 if row.label is None else int(row.label)
    return [Item(number=number, rows=[arranger.row(prompt, choice) for choice in choices], target=target)]


def arrange_span(arranger: Arranger, number: int, row: Example) -> list[Item]:
    """Windows of the passage behind the question, each half over the one before (as BERT reads SQuAD).

    The place of "not in this window" is the start token for an encoder, the end token for a decoder.
    """
    (question,) = arranger.reader.encode(row.texts[:1])
    arranger.cut.count(len(question), min(len(question), MOST_QUESTION))
    question = question[: min(MOST_QUESTION, arranger.max_len // 2 - 3)]
    ids, spans = arranger.reader.encode_with_spans(row.texts[1])
    room = arranger.max_len - 3 - len(question)
    end = row.start + len(row.answers[0]) if row.answers else 0
    inside = [i for i, (a, b) in enumerate(spans) if row.answers and a < end and b > row.start]
    items: list[Item] = []
    for first in range(0, max(1, len(ids) - room // 2), room - room // 2):
        last = min(first + room, len(ids))
        line = arranger.row(question, ids[first:last])
        nowhere = 0 if arranger.both_ways else len(line.ids) - 1
        places = range(line.second, line.second + last - first)
        whole = bool(inside) and first <= inside[0] and inside[-1] < last
        target = (places[inside[0] - first], places[inside[-1] - first]) if whole else (nowhere, nowhere)
        items.append(
            Item(
                number=number,
                rows=[line],
                target=target,
                places=[nowhere, *places],
                spans=[(0, 0), *spans[first:last]],
            )
        )
    return items


def arrange_tags(arranger: Arranger, number: int, row: Example) -> list[Item]:
    """Words one after the other; BERT tags a word at its first token, a decoder when it has read it."""
    pieces = arranger.reader.encode(joined_words(row.texts))
    for word, piece in zip(row.texts, pieces, strict=True):
        if not piece:
            raise DataError(f"{row.where}: the tokenizer reads nothing in the word {word!r}; take it out")
    ends = list(accumulate(map(len, pieces)))
    n_words = sum(end <= arranger.max_len - 2 for end in ends)
    if not n_words:
        raise DataError(f"{row.where}: its first word has {ends[0]} tokens; raise max_len, or take it out")
    arranger.cut.count(ends[-1], ends[n_words - 1])
    starts = [end - len(piece) for end, piece in zip(ends, pieces, strict=True)]
    places = [1 + start for start in starts] if arranger.both_ways else ends
    tags = [arranger.labels.index(tag) for tag in row.tags[:n_words]]
    line = arranger.row(list(chain.from_iterable(pieces[:n_words])))
    return [Item(number=number, rows=[line], target=tags or [0] * n_words, places=places[:n_words])]


ARRANGE: dict[Kind, Callable[[Arranger, int, Example], list[Item]]] = {
    "class": arrange_class,
    "similarity": arrange_similarity,
    "choice": arrange_choice,
    "span": arrange_span,
    "tag": arrange_tags,
}


def collate(items: Sequence[Item], arranger: Arranger) -> LabelledBatch:
    """Rows of equal length, padded at the right."""
    rows = [row for item in items for row in item.rows]
    shape = (len(rows), max(len(row.ids) for row in rows))
    input_ids = torch.full(shape, arranger.reader.marks.pad)
    types, padding = torch.zeros(shape, dtype=torch.int64), torch.ones(shape, dtype=torch.int64)
    answer_mask = torch.zeros(shape, dtype=torch.bool)
    for i, row in enumerate(rows):
        n = len(row.ids)
        input_ids[i, :n] = torch.tensor(row.ids)
        types[i, row.second : n] = 1
        padding[i, :n] = 0
    tags = torch.zeros(shape, dtype=torch.int64)
    for i, item in enumerate(items if arranger.kind in ("span", "tag") else ()):
        answer_mask[i, item.places] = True
        if arranger.kind == "tag":
            tags[i, item.places] = torch.tensor(item.target)
    ends = torch.tensor([len(row.ids) - 1 for row in rows])
    return LabelledBatch(
        kind=arranger.kind,
        input_ids=input_ids,
        segment_ids=padding,
        type_ids=types if arranger.both_ways else None,
        end_index=ends,
        item_ids=torch.tensor([i for i, item in enumerate(items) for _ in item.rows]),
        targets=tags if arranger.kind == "tag" else targets_of(items, arranger),
        answer_mask=answer_mask,
        loss_mask=torch.arange(shape[1]) < ends[:, None],
    )


def targets_of(items: Sequence[Item], arranger: Arranger) -> Tensor:
    """What each item's answer is."""
    is_number = arranger.kind in ("class", "similarity") and not arranger.labels
    return torch.tensor([item.target for item in items], dtype=torch.float32 if is_number else torch.int64)


class LabelledBatches:
    """Endless batches of items; each epoch has its own order, in which a batch's items are of like length."""

    def __init__(self, items: Sequence[Item], arranger: Arranger, batch_size: int, seed: int) -> None:
        if not items:
            raise DataError("no example to learn from")
        self.items, self.arranger, self.batch_size, self.seed = items, arranger, batch_size, seed
        self._epoch, self._batch = 0, 0
        self._plan = lru_cache(maxsize=1)(partial(plan, [item.length for item in items], batch_size, seed))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> LabelledBatch:
        if self._batch == self.batches_per_epoch:
            self._epoch, self._batch = self._epoch + 1, 0
        self._batch += 1
        chosen = self._plan(self._epoch)[self._batch - 1]
        return collate([self.items[i] for i in chosen], self.arranger)

    @property
    def batches_per_epoch(self) -> int:
        return -(-len(self.items) // self.batch_size)

    @property
    def epoch(self) -> float:
        """How many times the examples have been read."""
        return self._epoch + self._batch / self.batches_per_epoch

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "batch": self._batch, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_identity("labelled batches", state, self._identity())
        self._epoch, self._batch = int(state["epoch"]), int(state["batch"])

    def _identity(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "batch_size": self.batch_size,
            "n_items": len(self.items),
            "n_tokens": sum(len(row.ids) for item in self.items for row in item.rows),
        }


def plan(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Batches of items by number: drawn into pools, sorted by length within each, and shuffled."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths)).tolist()
    batches: list[list[int]] = []
    for start in range(0, len(order), POOL * batch_size):
        pool = sorted(order[start : start + POOL * batch_size], key=lengths.__getitem__)
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def in_order(
    items: Sequence[Item], arranger: Arranger, batch_size: int
) -> list[tuple[list[Item], LabelledBatch]]:
    """Every item once, for measuring and predicting."""
    cuts = range(0, len(items), batch_size)
    parts = [list(items[i : i + batch_size]) for i in cuts]
    return [(part, collate(part, arranger)) for part in parts]


def for_measuring(arranger: Arranger) -> Arranger:
    """The same, with a count of its own of what is cut."""
    return replace(arranger, cut=Cut())
