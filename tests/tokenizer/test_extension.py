"""A vocabulary that grows: old ids keep their meaning, new merges are learnt by plain counting."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chatml import CONTROL_TOKENS
from danlu.tokenizer.merging import further_merges

BEFORE = ["The baker lives in the old town.", "旧桥在河边。"] * 5
TEAM = ["The turbine blade; turbine blades: 涡轮叶片在转动，涡轮叶片很热。"] * 9


@pytest.fixture(scope="module")
def old() -> Tokenizer:
    return Tokenizer.train(BEFORE, 300)


@pytest.fixture(scope="module")
def grown(old: Tokenizer) -> Tokenizer:
    return old.extended(TEAM, 30)


def by_plain_counting(words: dict[tuple[str, ...], int], known: set[str], n: int, least: int):
    """The same merges, every pair counted anew at each turn."""
    rows, found, known = dict(words), [], set(known)
    while len(found) < n:
        counts = Counter()
        for row, weight in rows.items():
            for pair in pairwise(row):
                counts[pair] += weight
        fit = [(-c, pair) for pair, c in counts.items() if c >= least and "".join(pair) not in known]
        if not fit:
            break
        _, (left, right) = min(fit)
        found.append((left, right))
        known.add(left + right)
        joined: Counter[tuple[str, ...]] = Counter()
        for row, weight in rows.items():
            new: list[str] = []
            for token in row:
                if new and new[-1] == left and token == right:
                    new[-1] = left + right
                else:
                    new.append(token)
            joined[tuple(new)] += weight
        rows = dict(joined)
    return found


@given(
    st.dictionaries(
        st.lists(st.sampled_from("abc"), min_size=1, max_size=8).map(tuple), st.integers(1, 5), max_size=12
    ),
    st.integers(1, 4),
)
def test_merges_are_those_of_plain_counting(words: dict[tuple[str, ...], int], least: int):
    known = {"a", "b", "c", "ab"}
    assert further_merges(words, known, 6, least) == by_plain_counting(words, known, 6, least)


def test_merges_worked_by_hand():
    words = {("x", "y", "z"): 3, ("x", "y"): 2, ("y", "z"): 4}
    # yz stands 7 times, xy 5; once yz is joined, x·y is left in one word, twice, and x·yz three times.
    assert further_merges(words, {"x", "y", "z"}, 3, 1) == [("y", "z"), ("x", "yz"), ("x", "y")]
    assert further_merges(words, {"x", "y", "z"}, 3, 3) == [("y", "z"), ("x", "yz")]
    assert further_merges(words, {"x", "y", "z", "yz"}, 1, 1) == [("x", "y")]


def test_every_old_id_keeps_its_meaning(old: Tokenizer, grown: Tokenizer):
    assert grown.vocab_size == old.vocab_size + 30
    assert [grown.decode_bytes([i], show_control=True) for i in range(old.vocab_size)] == [
        old.decode_bytes([i], show_control=True) for i in range(old.vocab_size)
    ]
    assert grown.control_ids == old.control_ids
    assert (grown.eos_id, grown.pad_id, grown.im_start_id, grown.im_end_id) == (
        old.eos_id,
        old.pad_id,
        old.im_start_id,
        old.im_end_id,
    )
    assert grown.fingerprint != old.fingerprint


@pytest.mark.parametrize("text", [*TEAM[:1], *BEFORE[:2], "unseen <|im_end|> 😀\n"])
def test_new_tokens_join_old_ones_and_the_text_comes_back(old: Tokenizer, grown: Tokenizer, text: str):
    parts = dict(enumerate(old.parts(grown), start=old.vocab_size))
    ids = grown.encode(text)
    assert [i for each in ids for i in parts.get(each, [each])] == old.encode(text)
    assert grown.decode(ids) == text
    assert not grown.control_ids & set(ids)


def test_the_teams_text_gets_shorter(old: Tokenizer, grown: Tokenizer):
    assert len(grown.encode(TEAM[0])) < 0.6 * len(old.encode(TEAM[0]))


def test_what_was_saved_is_read_again(grown: Tokenizer, tmp_path: Path):
    grown.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.fingerprint == grown.fingerprint
    assert again.encode(TEAM[0]) == grown.encode(TEAM[0])
    assert again.control_ids == grown.control_ids
    twice = again.extended(["blade blade turbines turbines"], 3)
    assert twice.control_ids == grown.control_ids
    assert twice.vocab_size == grown.vocab_size + 3


def test_transformers_reads_it_with_the_same_ids(grown: Tokenizer, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    grown.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in (*TEAM[:1], *BEFORE[:2]):
        assert theirs(text)["input_ids"] == grown.encode(text)
    assert theirs.convert_tokens_to_ids(list(CONTROL_TOKENS)) == [
        grown.eos_id,
        grown.pad_id,
        grown.im_start_id,
        grown.im_end_id,
    ]
    assert theirs("a<|im_end|>")["input_ids"][-1] == grown.im_end_id
    assert len(theirs) == grown.vocab_size


def test_a_vocabulary_that_never_grew_is_written_as_it_always_was(old: Tokenizer, tmp_path: Path):
    old.save(tmp_path)
    tree = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert not set(CONTROL_TOKENS) & tree["model"]["vocab"].keys()
    assert Tokenizer.load(tmp_path).fingerprint == old.fingerprint
