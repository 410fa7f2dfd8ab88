"""`/v1/score` of a studio: the newest reward model, whichever that is when somebody asks."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("nicegui", reason="the studio needs NiceGUI: pip install 'danlu[studio]'")

from danlu.model.config import ModelConfig
from danlu.model.heads import ScoreModel
from danlu.recipes.stage import publish
from danlu.recipes.studio_scores import LatestScores
from danlu.rl.scoring import score_sequences
from danlu.serve.api.errors import ApiError
from danlu.tokenizer.bpe import Tokenizer

ROWS = [[1, 2, 3], [4, 5]]


def judge(path: Path, tokenizer: Tokenizer, seed: int) -> ScoreModel:
    sizes = {"d_model": 16, "n_layers": 1, "n_heads": 2, "n_kv_heads": 1, "head_dim": 8, "d_ff": 16}
    model = ScoreModel(
        ModelConfig(vocab_size=tokenizer.vocab_size, max_seq_len=32, **sizes), seed=seed
    ).eval()
    publish(model, tokenizer, path)
    return model


def test_scores_are_those_of_the_newest_reward_model(tmp_path: Path):
    tokenizer = Tokenizer.train(["one two three"] * 3, 280)
    found: list[Path] = []
    scores = LatestScores(tokenizer, lambda: found[-1] if found else None)
    with pytest.raises(ApiError, match="no lesson has made a reward model yet"):
        scores(ROWS)
    for seed in (1, 2):
        model = judge(tmp_path / str(seed), tokenizer, seed)
        found.append(tmp_path / str(seed))
        assert scores(ROWS) == score_sequences(model, ROWS, tokenizer.pad_id)


def test_a_reward_model_of_other_tokens_or_one_that_is_broken_is_told(tmp_path: Path):
    tokenizer, other = (Tokenizer.train([text] * 3, 280) for text in ("one two three", "vier fünf sechs"))
    judge(tmp_path / "other", other, 1)
    with pytest.raises(ApiError, match="cannot be used: it reads other tokens"):
        LatestScores(tokenizer, lambda: tmp_path / "other")(ROWS)
    judge(tmp_path / "broken", tokenizer, 1)
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"")
    with pytest.raises(ApiError, match="cannot be used"):
        LatestScores(tokenizer, lambda: tmp_path / "broken")(ROWS)
