"""A model that translates: its directory, and texts in and out of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from danlu.config import ConfigError, build
from danlu.data.language import identify
from danlu.data.pairs import Languages, Pair
from danlu.data.translation import Ids, Markers
from danlu.generate.beam import BeamConfig, translate
from danlu.model.hf import TokenIds, load_translation_model, save_model
from danlu.model.tensor_file import ModelFileError
from danlu.model.translation import TranslationModel
from danlu.model.weights import read_json
from danlu.recipes.model_files import LANGUAGES_FILE, model_dir
from danlu.rl.team import evaluating
from danlu.tokenizer.bpe import Tokenizer
from danlu.train.checkpoint import atomic_folder
from danlu.train.parallel import rank


@dataclass(frozen=True, slots=True)
class Translator:
    """A translation model, the tokenizer that both its languages share, and what it translates into what."""

    model: TranslationModel
    tokenizer: Tokenizer
    languages: Languages

    @property
    def markers(self) -> Markers:
        return Markers(start=self.tokenizer.eos_id, pad=self.tokenizer.pad_id)

    def examples(self, pairs: Sequence[Pair], to: str) -> list[Ids]:
        """Ids of each pair in the direction that ends in `to`."""
        texts = [pair.read(to == self.languages.target) for pair in pairs]
        sources = self.read([source for source, _ in texts], to)
        end = self.tokenizer.eos_id
        targets = [[*ids, end] for ids in self.tokenizer.encode_batch(target for _, target in texts)]
        return list(zip(sources, targets, strict=True))

    def read(self, texts: Sequence[str], to: str) -> list[list[int]]:
        """Ids of each text as the encoder reads it, its end included."""
        marked = (self.languages.marked(text, to) for text in texts)
        return [[*ids, self.tokenizer.eos_id] for ids in self.tokenizer.encode_batch(marked)]

    def translate(self, texts: Sequence[str], to: str, beam: BeamConfig) -> list[str]:
        """The best translation found of each text."""
        with evaluating(self.model):
            found = translate(
                self.model,
                self.read(texts, to),
                beam,
                start_id=self.tokenizer.eos_id,
                end_id=self.tokenizer.eos_id,
                forbidden_ids=self.tokenizer.control_ids,
            )
        return [self.tokenizer.decode(hypotheses[0].ids) for hypotheses in found]

    def wanted(self, text: str, to: str | None) -> str:
        """The language to translate a text into: the one named, or the one that it is not in."""
        possible = [target for _, target in self.languages.directions]
        if to is not None and to not in possible:
            raise ConfigError(f"to is {to!r}; this model translates into {' or '.join(possible)}")
        if to is not None or len(possible) == 1:
            return to or possible[0]
        language = identify(text)
        return self.languages.source if language == self.languages.target else self.languages.target

    def save(self, path: Path) -> None:
        """Write a model directory, whole or not at all."""
        if rank():
            return
        end = self.tokenizer.eos_id
        with atomic_folder(path) as folder:
            self.tokenizer.save(folder)
            save_model(
                self.model, folder, token_ids=TokenIds(pad=self.tokenizer.pad_id, stop=(end,), start=end)
            )
            text = json.dumps(asdict(self.languages), indent=2)
            (folder / LANGUAGES_FILE).write_text(text + "\n", encoding="utf-8")


def load_translator(path: Path) -> Translator:
    """The translator in a model directory, or in the run directory of the training that made it."""
    folder = model_dir(path)
    if not (folder / LANGUAGES_FILE).is_file():
        raise ModelFileError(
            f"{folder}: holds no {LANGUAGES_FILE}, which says what is translated into what; "
            "name a directory that danlu translate train wrote"
        )
    languages = build(Languages, read_json(folder / LANGUAGES_FILE))
    tokenizer = Tokenizer.load(folder)
    model = load_translation_model(folder, vocab_size=tokenizer.vocab_size)
    return Translator(model.eval(), tokenizer, languages)
