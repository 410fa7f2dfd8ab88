"""`danlu generate` with tokens guessed ahead: the same text, and settings that make no sense are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.cli import main
from danlu.model.heads import LanguageModel
from danlu.recipes.pretrain import Shape
from danlu.recipes.stage import publish
from danlu.tokenizer.bpe import Tokenizer

SHAPE = Shape(d_model=32, n_layers=1, n_heads=2, n_kv_heads=1, head_dim=16, d_ff=32, max_seq_len=64)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a smaller one of its tokenizer, and one of another."""
    root = tmp_path_factory.mktemp("guesses")
    tokenizers = {"large": "hello there", "other": "quite other words"}
    for name, seed in (("large", 1), ("small", 2), ("other", 3)):
        text = tokenizers.get(name, tokenizers["large"])
        tokenizer = Tokenizer.train([text] * 3, 270)
        publish(LanguageModel(SHAPE.model_config(tokenizer.vocab_size), seed=seed), tokenizer, root / name)
    return root


def test_guesses_change_no_character(models: Path, capsys: pytest.CaptureFixture[str]):
    said: list[str] = []
    for words in ([], ["n_draft=4"], ["n_draft=4", f"draft={models / 'small'}"]):
        assert main(["generate", str(models / "large"), "hello", "sampling.max_new_tokens=20", *words]) == 0
        said.append(capsys.readouterr().out)
    assert said[0]
    assert said == [said[0]] * 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["draft={small}"], "n_draft is 0, so nothing would be guessed"),
        (["n_draft=33"], "n_draft is 33; it must be from 0 to 32"),
        (["n_draft=2", "draft={other}"], "another vocabulary than the model"),
    ],
)
def test_guesses_that_make_no_sense_are_refused(
    models: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    places = {name: models / name for name in ("small", "other")}
    assert main(["generate", str(models / "large"), "hello", *(word.format(**places) for word in words)]) == 2
    assert message in capsys.readouterr().err
