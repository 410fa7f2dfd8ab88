"""BPE as SentencePiece makes it: the ids that `transformers` gives, and no control token out of a text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, trainers
from transformers import PreTrainedTokenizerFast

from danlu.tokenizer.byte_level import TokenizerError
from danlu.tokenizer.sentencepiece_bpe import SentencePieceTokenizer, is_sentencepiece

CONTROL = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]
TEXTS = [
    "The river runs to the sea, and the sea is wide.",
    "the king said: open the gate! 12 men came.",
    "河水流向大海，大海很宽。",
    "王说：开门！来了十二个人。",
]
PREPEND = {"type": "Prepend", "prepend": "▁"}
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
KINDS = ("legacy", "always", "first", "never")


def metaspace(scheme: str) -> dict[str, Any]:
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": False}


def tree_of(kind: str) -> dict[str, Any]:
    """A `tokenizer.json` that was learnt from a few sentences."""
    learner = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    learner.decoder = decoders.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    spelled = [text.replace(" ", "▁") for text in ["▁" + each for each in TEXTS]]
    bytes_ = [f"<0x{i:02X}>" for i in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=[*CONTROL, *bytes_], show_progress=False)
    learner.train_from_iterator(spelled, trainer)
    tree = json.loads(learner.to_str())
    tree["added_tokens"] = [
        {**each, "normalized": False} for each in tree["added_tokens"] if each["content"] in CONTROL
    ]
    if kind == "legacy":
        tree["normalizer"] = {"type": "Sequence", "normalizers": [PREPEND, REPLACE]}
    else:
        tree["pre_tokenizer"] = metaspace(kind)
    return tree


def write(folder: Path, tree: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(tree, ensure_ascii=False), encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=KINDS)
def both(request, tmp_path_factory) -> tuple[SentencePieceTokenizer, PreTrainedTokenizerFast]:
    """The same file, read here and by `transformers`."""
    folder = write(tmp_path_factory.mktemp("sp") / request.param, tree_of(request.param))
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    return SentencePieceTokenizer(folder), theirs


# No added token among them: `transformers` would make that of a text. ▁ is spelled like a blank.
WORDS = st.sampled_from(
    [
        *("the", "sea", "大海", "王", "é", "🙂", "12", "ﬁ", "\u200b", "<0x0A>", "<", ">", "[", "INST"),
        *("▁", " ", "  ", "\n", "\t", "\u3000"),
    ]
)
ANY = st.lists(WORDS | st.text(max_size=4), max_size=12).map("".join)
TEXT = ANY.filter(lambda text: not any(each in text for each in CONTROL))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXT)
def test_ids_are_those_that_transformers_gives(both, text):
    ours, theirs = both
    assert ours.encode(text) == theirs.encode(text, add_special_tokens=False)
    assert ours.encode_batch([text, "sea"]) == [ours.encode(text), ours.encode("sea")]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=TEXT.filter(bool), answer=TEXT.filter(bool))
def test_texts_behind_control_tokens_are_cut_as_in_a_whole_conversation(both, question, answer):
    ours, theirs = both
    whole = theirs.encode(f"<s>[INST]{question}[/INST]{answer}</s>", add_special_tokens=False)
    begin, opens, closes, end = (ours.control_id(each) for each in ("<s>", "[INST]", "[/INST]", "</s>"))
    parts = [begin, opens, *ours.encode_after_control(question), closes, *ours.encode_after_control(answer)]
    assert [*parts, end] == whole


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(WORDS | st.sampled_from(CONTROL), max_size=8).map("".join))
def test_no_text_becomes_a_control_token_and_every_text_comes_back(both, text):
    ours, _ = both
    for ids, lead in (
        (ours.encode_continued(text), ""),
        (ours.encode(text), " "),
        (ours.encode_after_control(text), " "),
    ):
        assert not ours.control_ids & set(ids)
        assert ours.decode_bytes(ids).decode().removeprefix(lead) in (
            text.replace("▁", " "),
            text.replace("▁", " ").removeprefix(lead),
        )


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(st.integers(0, 330), max_size=20), cut=st.integers(0, 20))
def test_a_stream_of_ids_is_joined_as_bytes(both, ids, cut):
    ours, _ = both
    assert ours.decode_bytes(ids) == ours.decode_bytes(ids[:cut]) + ours.decode_bytes(ids[cut:])


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_decoded_as_transformers_does(both, text):
    ours, theirs = both
    ids = ours.encode(text)
    assert ours.decode(ids) == theirs.decode(ids) == text
    shown = ours.decode([ours.begin_id, *ids], show_control=True)
    assert shown.startswith("<s>")
    assert ours.decode([ours.begin_id, *ids]) == text


def test_a_blank_at_the_start_is_kept_where_the_file_keeps_it(tmp_path):
    tree = tree_of("never")
    tree["decoder"]["decoders"].pop()
    folder = write(tmp_path, tree)
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    ours = SentencePieceTokenizer(folder)
    ids = ours.encode(" the sea")
    assert ours.decode(ids) == theirs.decode(ids) == " the sea"


def test_rows_of_the_model_that_have_no_token_are_control_tokens(tmp_path):
    tree = tree_of("first")
    ours = SentencePieceTokenizer(write(tmp_path, tree), vocab_size=len(tree["model"]["vocab"]) + 7)
    assert ours.vocab_size == len(tree["model"]["vocab"]) + 7
    assert ours.vocab_size - 1 in ours.control_ids
    assert ours.pad_id == ours.eos_id == ours.control_id("</s>")


def test_what_is_saved_is_read_again(tmp_path):
    ours = SentencePieceTokenizer(write(tmp_path / "a", tree_of("legacy")))
    ours.save(tmp_path / "b")
    again = SentencePieceTokenizer(tmp_path / "b")
    assert again.fingerprint == ours.fingerprint
    assert again.encode("大海 the sea") == ours.encode("大海 the sea")
    assert is_sentencepiece(json.loads(again.to_json()))


def without_a_byte(tree: dict[str, Any]) -> None:
    del tree["model"]["vocab"]["<0x0A>"]


def with_a_merge_of_a_control_token(tree: dict[str, Any]) -> None:
    vocab = tree["model"]["vocab"]
    tree["model"]["merges"].append(["<", "s>"])
    vocab |= {"<": len(vocab), "s>": len(vocab) + 1}


DAMAGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "bytes": without_a_byte,
    "merge": with_a_merge_of_a_control_token,
    "fallback": lambda tree: tree["model"].update(byte_fallback=False),
    "dropout": lambda tree: tree["model"].update(dropout=0.1),
    "normalizer": lambda tree: tree.update(normalizer={"type": "NFKC"}),
    "gap": lambda tree: tree["model"]["vocab"].update(unheard=9999),
    "decoder": lambda tree: tree.update(decoder=None),
    "eager": lambda tree: tree["added_tokens"][1].update(lstrip=True),
    "model": lambda tree: tree.update(model=3),
}


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("bytes", "1 of the 256 bytes have no token, such as <0x0A>"),
        ("merge", "a merge makes <s>"),
        ("fallback", "must fall back to bytes"),
        ("dropout", "its dropout is 0.1"),
        ("normalizer", "its normalizer is .*NFKC.*; known are those of Llama 2 and Mistral"),
        ("gap", "ids are not 0 to"),
        ("decoder", "its decoder is \\[\\]; expected .*Fuse"),
        ("eager", "<s> takes the blanks beside it"),
        ("model", "not a BPE tokenizer"),
    ],
)
def test_a_file_that_cannot_be_followed_is_refused(tmp_path, what, said):
    tree = tree_of("legacy")
    DAMAGES[what](tree)
    folder = write(tmp_path, tree)
    with pytest.raises(TokenizerError, match=said):
        SentencePieceTokenizer(folder)


def test_a_control_token_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TokenizerError, match=r"no control token <\|end\|>"):
        SentencePieceTokenizer(write(tmp_path, tree_of("first")), end="<|end|>")
