"""`danlu translate`: train a translator on pairs, score it, or translate a text or a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from danlu.config import ConfigError
from danlu.data.pairs import read_pairs
from danlu.data.records import DataError
from danlu.generate.beam import BeamConfig
from danlu.recipes.data import located
from danlu.recipes.translation import TrainTranslator, as_tree, score_directions, train_translator
from danlu.recipes.translator import load_translator
from danlu.train.checkpoint import replace_file

SUMMARY = "translate: danlu translate MODEL TEXT; or train a translator on pairs, or score it"
POSITIONAL = ("model", "text")
BATCH = 64  # lines of a file that are translated at the same time


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTranslator:
    model: Path  # run directory of the training, or its model directory
    pairs: tuple[Path, ...]  # pairs that the model has not learnt
    out: Path | None = None  # file for the scores as JSON
    beam: BeamConfig = field(default_factory=BeamConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslateText:
    model: Path  # run directory of the training, or its model directory
    text: str | None = None
    file: Path | None = None  # instead of a text: UTF-8, a translation is printed for every line
    to: str | None = None  # language to translate into; if both are possible, the one that the text is not in
    beam: BeamConfig = field(default_factory=BeamConfig)

    def __post_init__(self) -> None:
        if (self.text is None) == (self.file is None):
            raise ConfigError("give either a text or file=, and not both")


TranslateConfig = TrainTranslator | ScoreTranslator | TranslateText
FORMS: dict[str, type] = {"text": TranslateText, "train": TrainTranslator, "score": ScoreTranslator}


def choose(words: Sequence[str]) -> tuple[type, list[str]]:
    """The settings that a command line is about, and the words that set them: without a form, a text."""
    if not words:
        raise ConfigError(f"name a model and a text, or begin with {' or '.join(FORMS)}")
    first, *rest = words
    return (FORMS[first], rest) if first in FORMS else (TranslateText, list(words))


def run(config: TranslateConfig) -> Path:
    if isinstance(config, TrainTranslator):
        return train_translator(config)
    return score(config) if isinstance(config, ScoreTranslator) else translate(config)


def score(config: ScoreTranslator) -> Path:
    """BLEU and chrF of every direction, printed with their signatures."""
    translator = load_translator(config.model)
    pairs = read_pairs([located(path) for path in config.pairs], translator.languages)
    scores = score_directions(translator, pairs, config.beam)
    for direction, some in scores.items():
        for each in some:
            print(f"{direction}: {each}")
    if config.out is not None:
        replace_file(config.out, json.dumps({"n_pairs": len(pairs), "scores": as_tree(scores)}, indent=2))
    return config.model


def translate(config: TranslateText) -> Path:
    """A line out for every line in; blank lines stay blank."""
    translator = load_translator(config.model)
    lines = lines_of(config)
    for start in range(0, len(lines), BATCH):
        some = lines[start : start + BATCH]
        found = [""] * len(some)
        wanted = [translator.wanted(line, config.to) if line.strip() else "" for line in some]
        for to in dict.fromkeys(filter(None, wanted)):
            places = [i for i, each in enumerate(wanted) if each == to]
            translations = translator.translate([some[i].strip() for i in places], to, config.beam)
            for i, translation in zip(places, translations, strict=True):
                found[i] = translation
        print("\n".join(found), flush=True)
    return config.model


def lines_of(config: TranslateText) -> list[str]:
    """What is to be translated, line by line."""
    if config.file is None:
        lines, where = (config.text or "").splitlines(), "the text"
    else:
        where = str(config.file)
        try:
            lines = config.file.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: is not UTF-8 at byte {error.start}; convert it to UTF-8") from None
    if not any(line.strip() for line in lines):
        raise DataError(f"{where} is empty; expected something to translate")
    return lines
