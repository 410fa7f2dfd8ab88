"""`danlu attention MODEL TEXT [OTHER]`: what a model looks at and expects, as a page and as pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table

from danlu.adapters.files import find_base, is_adapter, load_adapter, read_adapter
from danlu.config import ConfigError
from danlu.generate.beam import BeamConfig
from danlu.inspect.attention import (
    SOURCE,
    TEXT,
    HeadScore,
    LayerWeights,
    difference,
    heads_between,
    self_attention,
    translation_attention,
)
from danlu.inspect.head_pictures import Panel, draw, panels_of
from danlu.inspect.predictions import Expectation, LensLayer, logit_lens, masked_tokens, next_tokens
from danlu.inspect.reader import (
    OwnReader,
    Piece,
    Reader,
    SeveralPlacesError,
    WordError,
    places_of,
    reader_of,
)
from danlu.inspect.view import console
from danlu.model.encoder_heads import MaskedLanguageModel
from danlu.model.heads import LanguageModel
from danlu.model.hf import AnyModel, open_model, read_model
from danlu.model.translation import TranslationModel
from danlu.model.weights import ModelFileError
from danlu.recipes.attention_page import Looked, Read, Sides, Sight, render
from danlu.recipes.model_files import model_dir
from danlu.recipes.translator import Translator, load_translator
from danlu.train.checkpoint import replace_file

SUMMARY = "draw what every head looks at, and what the model expects: danlu attention MODEL TEXT"
POSITIONAL = ("model", "text", "other")
N_SHOWN = 6  # heads that are drawn large


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionConfig:
    model: Path  # model or adapter directory, or the run directory of the stage that made it
    text: str
    other: str | None = None  # a second text: how attention differs from that to the first
    target: str | None = None  # of a translator, the translation to look at; none = the one that it makes
    into: str | None = None  # of a translator, the language; none = the one that the text is not in
    from_: str | None = None  # a word: which heads look most from it …
    to: str | None = None  # … to this word; a word that stands there twice is written word#1 or word#2
    out: Path = Path("attention")  # folder for attention.html and the pictures
    n_best: int = 5  # alternatives shown beside each token
    max_tokens: int = 128  # a longer text is refused: its squares could not be read

    def __post_init__(self) -> None:
        if (self.from_ is None) != (self.to is None):
            given, missing = ("from", "to")[:: 1 if self.to is None else -1]
            raise ConfigError(f"{given} is set but {missing} is not; set both or neither")
        if self.n_best < 1:
            raise ConfigError(f"n_best is {self.n_best}; it must be at least 1")


def run(config: AttentionConfig) -> Path:
    look_at = looker(config)
    texts = [config.text] if config.other is None else [config.text, config.other]
    looked = [look_at(text) for text in texts]
    differs = None
    if config.other is not None:
        first, second = looked
        differs = difference(first.layers, second.layers, first.ids, second.ids)
    sight = Sight(
        model=str(config.model), looked=looked, difference=differs, between=between(looked[0], config)
    )
    config.out.mkdir(parents=True, exist_ok=True)
    written = [config.out / "attention.html", *draw_all(sight, config.out)]
    replace_file(written[0], render(sight, N_SHOWN))
    show(sight, console())
    print("\n".join(map(str, written)))
    return config.out


def looker(config: AttentionConfig) -> Callable[[str], Looked]:
    """What reads a text with the model that is meant."""
    adapter_only = any(is_adapter(each) for each in (config.model, config.model / "adapter"))
    if not adapter_only and isinstance(open_model(model_dir(config.model)).model, TranslationModel):
        translator = load_translator(config.model)
        return lambda text: look_at_translation(translator, text, config)
    if config.target is not None or config.into is not None:
        raise ConfigError(f"target and into are for models that translate, which {config.model} does not")
    model, reader = opened(config.model)
    return lambda text: look(model, reader, text, config)


def opened(path: Path) -> tuple[AnyModel, Reader]:
    """A model with its adapter, if it has one, and what reads text for it."""
    adapter = next((each for each in (path, path / "adapter") if is_adapter(each)), None)
    if adapter is not None and not (path / "model" / "config.json").is_file():
        return load_adapter(adapter).eval(), reader_of(find_base(read_adapter(adapter)))
    directory = model_dir(path)
    return read_model(directory).eval(), reader_of(directory)


def look(model: AnyModel, reader: Reader, text: str, config: AttentionConfig) -> Looked:
    """All that there is to be seen when a model reads a text."""
    pieces = reader.read(text)
    ids = [piece.id for piece in pieces]
    check(model, pieces, config, "text")
    predicts = isinstance(model, LanguageModel | MaskedLanguageModel)
    lens = logit_lens(model, ids) if predicts else []
    expected = expectations(model, reader, pieces, config.n_best)
    return Looked(
        title=text,
        read={TEXT: Read(text=text, pieces=pieces)},
        layers=self_attention(model, ids),
        expected=expected,
        lens=lens,
        spelled=spellings(reader, lens, expected),
        masked=isinstance(model, MaskedLanguageModel),
    )


def look_at_translation(translator: Translator, text: str, config: AttentionConfig) -> Looked:
    """All that there is to be seen when an encoder reads a text and a decoder its translation."""
    model, reader = translator.model, OwnReader(translator.tokenizer)
    into = translator.wanted(text, config.into)
    target = config.target
    if target is None:
        (target,) = translator.translate([text], into, BeamConfig())
    marked = translator.languages.marked(text, into)
    end, *source = reader.read(marked)
    read = {
        SOURCE: Read(text=marked, pieces=[*source, end]),
        TEXT: Read(text=target, pieces=reader.read(target)),
    }
    for name, each in (("text", read[SOURCE]), ("target", read[TEXT])):
        check(model, each.pieces, config, name)
    source_ids, ids = read[SOURCE].ids, read[TEXT].ids
    lens = logit_lens(model, ids, source=source_ids)
    expected = next_tokens(model, ids, config.n_best, source=source_ids)
    return Looked(
        title=f"{text} → {target}",
        read=read,
        layers=translation_attention(model, source_ids, ids),
        expected=expected,
        lens=lens,
        spelled=spellings(reader, lens, expected),
        masked=False,
    )


def spellings(reader: Reader, lens: Sequence[LensLayer], expected: Sequence[Expectation]) -> dict[int, str]:
    """Every token that is named as a guess."""
    tokens = {guess.id for layer in lens for guess in layer.guesses}
    tokens |= {guess.id for each in expected for guess in each.best}
    return {token: reader.spell(token) for token in tokens if token < reader.vocab_size}


def check(model: AnyModel, pieces: Sequence[Piece], config: AttentionConfig, name: str) -> None:
    """Refuse a text that the model cannot read, or nobody could see."""
    most = min(config.max_tokens, model.config.max_seq_len)
    if not 2 < len(pieces) <= most:
        raise ConfigError(
            f"{name}: it has {len(pieces)} tokens; it must have from 3 to {most} to be drawn, control tokens "
            "included"
        )
    largest = max(piece.id for piece in pieces)
    if largest >= model.config.vocab_size:
        raise ModelFileError(
            f"{config.model}: the tokenizer gives token {largest}, but the model knows "
            f"{model.config.vocab_size}; use the tokenizer that the model was trained with"
        )


def expectations(model: AnyModel, reader: Reader, pieces: Sequence[Piece], n_best: int) -> list[Expectation]:
    """What a model that speaks expected at each place; of others, nothing."""
    ids = [piece.id for piece in pieces]
    if isinstance(model, LanguageModel):
        return next_tokens(model, ids, n_best)
    if isinstance(model, MaskedLanguageModel) and reader.mask_id is not None:
        places = [at for at, piece in enumerate(pieces) if piece.span]
        return masked_tokens(model, ids, reader.mask_id, places, n_best)
    return []


def between(looked: Looked, config: AttentionConfig) -> tuple[str, str, list[HeadScore]] | None:
    """The two words asked about, and all heads by how much they look from one to the other.

    Of an encoder-decoder these are the heads of every part in which both words are: one that reads the texts
    that they stand in.
    """
    if config.from_ is None or config.to is None:
        return None
    rows, columns = (places_in_texts(word, looked) for word in (config.from_, config.to))
    found: list[HeadScore] = []
    for pair in dict.fromkeys(layer.texts for layer in looked.layers):
        if pair[0] in rows and pair[1] in columns:
            layers = [layer for layer in looked.layers if layer.texts == pair]
            found += heads_between(layers, rows[pair[0]], columns[pair[1]])
    if not found:
        raise WordError(
            f"no head looks from {config.from_!r} to {config.to!r}: a source does not look at its translation"
        )
    return config.from_, config.to, sorted(found, key=lambda each: -each.score)


def places_in_texts(word: str, looked: Looked) -> dict[str, list[int]]:
    """Where a word stands in each text that has it; it must stand in one at least."""
    found: dict[str, list[int]] = {}
    missing: list[WordError] = []
    for name, each in looked.read.items():
        try:
            found[name] = places_of(word, each.text, each.pieces)
        except SeveralPlacesError:
            raise
        except WordError as error:
            missing.append(error)
    if not found:
        raise missing[0]
    return found


def draw_all(sight: Sight, out: Path) -> list[Path]:
    """The pictures: all heads of each text, how they differ, and those that look from word to word."""
    written: list[Path] = []
    for number, each in enumerate(sight.looked, start=1):
        name = "heads" if len(sight.looked) == 1 else f"heads-{number}"
        sided = [(layer, each.sides(layer)) for layer in each.layers]
        written += draw_layers(sided, out, name, each.title)
    if sight.difference is not None:
        sided = [(layer, sight.sides_of_difference(layer)) for layer in sight.difference.layers]
        written += draw_layers(sided, out, "difference", "second text − first text", signed=True)
    if sight.between is not None:
        word, other, scores = sight.between
        panels: list[Panel] = []
        for each in scores[:N_SHOWN]:
            weights, (rows, columns) = sight.looked[0].head(each)
            title = f"{each.name}: {each.score:.2f}"
            panels.append(Panel(title=title, weights=weights, rows=rows, columns=columns))
        path = out / "between.png"
        draw([panels[:3], panels[3:]] if len(panels) > 3 else [panels], path, title=f"{word} → {other}")
        written.append(path)
    return written


def draw_layers(
    layers: Sequence[tuple[LayerWeights, Sides]], out: Path, name: str, title: str, *, signed: bool = False
) -> list[Path]:
    """A picture for each part of the model, a row a layer."""
    written: list[Path] = []
    for (stack, kind), group in groupby(layers, key=lambda each: (each[0].stack, each[0].kind)):
        rows = [panels_of(layer, *sides) for layer, sides in group]
        parts = [name, *([stack] if stack else []), *([kind] if kind != "self" else [])]
        path = out / f"{'-'.join(parts)}.png"
        draw(rows, path, title=title, signed=signed)
        written.append(path)
    return written


def show(sight: Sight, screen: Console) -> None:
    """Print what can be said in a few lines."""
    for each in sight.looked:
        if each.expected:
            screen.print(expectation_table(each))
    if sight.between is not None:
        word, other, scores = sight.between
        share = "share of attention"
        screen.print(score_table(scores[:N_SHOWN], f"from {word!r} to {other!r}", share))
    if sight.difference is not None:
        screen.print(score_table(sight.difference.ranked()[:N_SHOWN], "most changed", "share moved"))


def expectation_table(looked: Looked) -> Table:
    """Each token, how likely it was, and what was likelier."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("token", "probability", "rank", "likeliest"):
        table.add_column(name, no_wrap=True, justify="left" if name in ("token", "likeliest") else "right")
    for each in looked.expected:
        there = each.at < len(looked.pieces)
        likeliest = "  ".join(f"{looked.spelled.get(g.id, g.id)} {g.probability:.2f}" for g in each.best[:3])
        table.add_row(
            looked.pieces[each.at].label if there else "(next)",
            "" if each.probability is None else f"{each.probability:.3f}",
            "" if each.rank is None else str(each.rank),
            likeliest,
        )
    return table


def score_table(scores: Sequence[HeadScore], title: str, what: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title=title, title_justify="left")
    table.add_column("layer.head")
    table.add_column(what, justify="right")
    for each in scores:
        table.add_row(each.name, f"{each.score:.3f}")
    return table
