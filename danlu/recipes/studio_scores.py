"""What `/v1/score` of a studio says: the scores of the reward model that people's judgements made last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from danlu.model.heads import ScoreModel
from danlu.model.hf import load_score_model
from danlu.rl.scoring import score_sequences
from danlu.serve.api.errors import ApiError
from danlu.serve.api.service import Service
from danlu.serve.studio.voice import Voice
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.interface import TextTokenizer


@dataclass(slots=True)
class LatestScores:
    """Scores by a reward model that may be another at each call; it is loaded when it is first asked."""

    tokenizer: TextTokenizer  # by which the sequences are made
    latest: Callable[[], Path | None]
    _loaded: tuple[Path, ScoreModel] | None = field(default=None, init=False)

    def __call__(self, rows: Sequence[Sequence[int]]) -> list[float]:
        path = self.latest()
        if path is None:
            raise ApiError(404, "no lesson has made a reward model yet; begin one on the page Teach")
        if self._loaded is None or self._loaded[0] != path:
            self._loaded = path, self._load(path)
        return score_sequences(self._loaded[1], rows, self.tokenizer.pad_id)

    def _load(self, path: Path) -> ScoreModel:
        try:
            if Tokenizer.load(path).to_json() != self.tokenizer.to_json():
                raise ValueError("it reads other tokens than the model that is served")
            return load_score_model(path, vocab_size=self.tokenizer.vocab_size).eval()
        except (ValueError, RuntimeError, OSError) as error:
            raise ApiError(409, f"the newest reward model, {path}, cannot be used: {error}") from error


def with_scores(voice: Voice, latest: Callable[[], Path | None]) -> Voice:
    """The same model, beside which the newest reward model gives scores."""
    served = voice.service.served
    scoring = replace(served, score=LatestScores(served.chat.tokenizer, latest))
    return replace(voice, service=Service(scoring, voice.service.limits))
