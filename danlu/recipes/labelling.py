"""What a classifier says of examples, and `danlu classify MODEL …`, which prints it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from danlu.adapters.files import find_base, is_adapter, load_classifier_adapter, read_adapter
from danlu.config import ConfigError
from danlu.data.examples import KINDS_OF_FILE, Example
from danlu.data.labelled import Arranger, Item, LabelledBatch, in_order
from danlu.evaluate.classification import PIECE
from danlu.model.classifiers import Answers, Classifier
from danlu.model.hf import load_classifier
from danlu.objectives.classification import item_outputs
from danlu.recipes.labelled_data import FileConfig
from danlu.recipes.model_files import model_dir
from danlu.rl.team import evaluating
from danlu.tokenizer.reader import TextReader, open_reader
from danlu.train.checkpoint import replace_file

LONGEST_ANSWER = 40  # tokens of an answer in a passage
MOST_PROBABLE = 5  # labels that are printed with their probability


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictConfig:
    model: Path  # what `danlu classify` made, or another classifier in the Hugging Face layout
    text: str = ""  # a text, or a file of examples: .csv, .jsonl and the like; .txt has one text a line
    text_b: str = ""  # the second text: hypothesis, other sentence, or the question to the passage in `text`
    choices: tuple[str, ...] = ()  # to choose from, after `text`
    out: Path | None = None  # file for the predictions, JSON lines; printed otherwise
    file: FileConfig = field(default_factory=FileConfig)
    max_len: int = 256  # tokens of a row, or the model's context if that is less
    batch_size: int = 32


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a classifier says of one example."""

    said: Any  # a label, a number, the choice's number, a part of the passage, or a tag for each word
    probabilities: dict[str, float] = field(default_factory=dict)

    @property
    def probability(self) -> float:
        """Of what is said; 1 where there is none."""
        return self.probabilities.get(str(self.said), 1.0)


def run_predict(config: PredictConfig) -> Path:
    """Print or write what the model says."""
    model, path = opened(config.model)
    reader = open_reader(path, both_ways=model.config.topology == "encoder")
    rows = list(asked(config, model.answers))
    arranger = arranger_for(model, reader, config.max_len)
    predictions = predict(model.eval(), arranger, rows, config.batch_size)
    lines = [
        json.dumps(told(row, found, model.answers), ensure_ascii=False)
        for row, found in zip(rows, predictions, strict=True)
    ]
    if config.out is not None:
        replace_file(config.out, "".join(f"{line}\n" for line in lines))
        print(f"{len(lines):,} predictions: {config.out}")
    elif len(lines) == 1:
        print(in_words(rows[0], predictions[0], model.answers))
    else:
        print("\n".join(lines))
    if arranger.cut.n_examples:
        print(f"{arranger.cut.n_examples:,} texts were longer than {arranger.max_len} tokens and cut")
    return config.model


def opened(path: Path) -> tuple[Classifier, Path]:
    """A classifier, and the directory of its tokenizer: of an adapter, the base's."""
    adapter = next((each for each in (path, path / "adapter") if is_adapter(each)), None)
    if adapter is None or (path / "model" / "config.json").is_file():
        return load_classifier(model_dir(path)), model_dir(path)
    return load_classifier_adapter(adapter), find_base(read_adapter(adapter))


def asked(config: PredictConfig, answers: Answers) -> Iterator[Example]:
    """The examples that the settings name."""
    path = Path(config.text)
    if config.text.lower().endswith((*KINDS_OF_FILE, ".txt")) and not config.text_b and not config.choices:
        if path.suffix.lower() == ".txt":
            texts = path.read_text(encoding=config.file.encoding).splitlines()
            yield from (
                Example(where=f"{path}:{n}", texts=(text,)) for n, text in enumerate(texts, 1) if text.strip()
            )
            return
        for row in config.file.read(path, labelled=False).rows:
            check_form(row, answers)
            yield row
        return
    if not config.text.strip():
        raise ConfigError("text: required, but not set; give a text or a file of examples")
    texts = (config.text, config.text_b) if config.text_b else (config.text,)
    if answers.kind == "span":
        texts = (config.text_b, config.text)
    if answers.kind == "tag":
        texts = tuple(PIECE.findall(config.text))  # as taggers are taught words: Han one by one
    row = Example(where="text", texts=texts, choices=config.choices)
    check_form(row, answers)
    yield row


def check_form(row: Example, answers: Answers) -> None:
    """Insist that an example has what this kind of answer needs."""
    if answers.kind == "choice" and len(row.choices) < 2:
        raise ConfigError(f"{row.where}: this model chooses; give choices=FIRST,SECOND after the text")
    if answers.kind == "span" and (len(row.texts) != 2 or not row.texts[0].strip()):
        raise ConfigError(f"{row.where}: this model answers questions; give the passage, then the question")
    if answers.kind == "similarity" and len(row.texts) != 2:
        raise ConfigError(f"{row.where}: this model compares; give two texts")


def arranger_for(model: Classifier, reader: TextReader, max_len: int, **settings: Any) -> Arranger:
    """How examples are laid out for this model."""
    answers = model.answers
    return Arranger(
        reader=reader,
        kind=answers.kind,
        max_len=min(max_len, model.config.max_seq_len),
        both_ways=model.config.topology == "encoder",
        labels=answers.labels,
        mean=answers.mean,
        deviation=answers.deviation,
        **settings,
    )


@torch.no_grad()
def predict(
    model: Classifier, arranger: Arranger, rows: Sequence[Example], batch_size: int
) -> list[Prediction]:
    """What the model says of each example."""
    items = arranger.arrange([unlabelled(row) for row in rows])
    found: list[list[tuple[float, Any]]] = [[] for _ in rows]
    with evaluating(model):
        for part, batch in in_order(items, arranger, batch_size):
            outputs = item_outputs(model.answer(model.hidden(*batch.inputs), batch.end_index), batch)
            for at, item in enumerate(part):
                found[item.number].append(
                    read_item(item, outputs[at], batch, rows[item.number], model.answers)
                )
    return [max(each, key=lambda pair: pair[0])[1] for each in found]


def unlabelled(row: Example) -> Example:
    """An example without its answer, which a model must not need."""
    return Example(where=row.where, texts=row.texts, choices=row.choices)


def read_item(
    item: Item, outputs: Tensor, batch: LabelledBatch, row: Example, answers: Answers
) -> tuple[float, Prediction]:
    """What one item's outputs amount to, and how much it counts among the windows of a passage."""
    if answers.kind == "span":
        return read_span(item, outputs, row.texts[1])
    if answers.kind == "tag":
        tags = [answers.labels[i] for i in outputs[item.places].argmax(1).tolist()]
        return 0.0, Prediction([*tags, *["O"] * (len(row.texts) - len(tags))])
    if answers.is_number:
        return 0.0, Prediction(answers.mean + answers.deviation * float(outputs[0]))
    names = answers.labels or [str(i) for i in range(len(row.choices))]
    shares = dict(zip(names, outputs.softmax(0).tolist(), strict=False))
    return 0.0, Prediction(max(shares, key=shares.__getitem__), shares)


def read_span(item: Item, outputs: Tensor, passage: str) -> tuple[float, Prediction]:
    """The likeliest span of a window and its log-probability there; the first place stands for "not here"."""
    starts, ends = outputs[item.places].log_softmax(0)[1:].unbind(1)
    both = starts[:, None] + ends[None, :]
    n = len(starts)
    possible = torch.ones(n, n, dtype=torch.bool).triu().tril(LONGEST_ANSWER - 1)
    best = int(both.masked_fill(~possible, float("-inf")).argmax())
    score = float(both.flatten()[best])
    (first, _), (_, last) = item.spans[1 + best // n], item.spans[1 + best % n]
    said = passage[first:last].strip()
    return score, Prediction(said, {said: torch.tensor(score).exp().item()})


def told(row: Example, found: Prediction, answers: Answers) -> dict[str, Any]:
    """One line of a file of predictions."""
    inputs: dict[str, Any] = {"text": row.texts[0]}
    if answers.kind == "tag":
        return {"tokens": list(row.texts), "tags": found.said}
    if answers.kind == "span":
        inputs = {"question": row.texts[0], "context": row.texts[1]}
    elif len(row.texts) == 2:
        inputs = {"text_a": row.texts[0], "text_b": row.texts[1]}
    if answers.kind == "choice":
        return {**inputs, "choices": list(row.choices), "answer": int(found.said), **_shares(found)}
    return {**inputs, "answer" if answers.kind == "span" else "label": found.said, **_shares(found)}


def _shares(found: Prediction) -> dict[str, Any]:
    likeliest = sorted(found.probabilities.items(), key=lambda pair: -pair[1])[:MOST_PROBABLE]
    return {"probabilities": {name: round(share, 4) for name, share in likeliest}} if likeliest else {}


def in_words(row: Example, found: Prediction, answers: Answers) -> str:
    """One prediction for people."""
    if answers.kind == "tag":
        return " ".join(f"{word}/{tag}" for word, tag in zip(row.texts, found.said, strict=True))
    if answers.is_number:
        return f"{found.said:.3f}"
    said = row.choices[int(found.said)] if answers.kind == "choice" else found.said
    likeliest = sorted(found.probabilities.items(), key=lambda pair: -pair[1])[:MOST_PROBABLE]
    shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in likeliest)
    return f"{said}  ({100 * found.probability:.1f} %)" if answers.kind == "span" else f"{said}  ({shares})"
