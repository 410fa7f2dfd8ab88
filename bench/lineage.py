"""GPT-1's and BERT's experiment from raw text on: pretrain small ones, then learn labelled sets from them.

    DANLU_DATA=../shared/data python bench/lineage.py --minutes 20 --table-minutes 60 --out runs/lineage

Text in English and Chinese is cleaned and tokenised, a GPT-1 (post-norm, learned positions) and a BERT of the
same width and depth share the minutes of pretraining. Then each learns every labelled set that is there,
beside a copy that was drawn anew: with the auxiliary loss and without, and on two sets by number of
transferred layers (bench/transfer.py). Sets are looked for under $DANLU_DATA and the data-nc beside it; those
that are not there are left out. What is done is not done again: the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transfer import Task, run_trials, show, trials_of

from danlu.data.sources import ReadingConfig
from danlu.recipes import data, pretrain, tokenizer
from danlu.recipes.data import DataConfig
from danlu.recipes.labelled_data import ExamplesConfig
from danlu.recipes.pretrain import PretrainConfig, Shape
from danlu.recipes.tokenizer import TokenizerConfig
from danlu.train.optim import OptimConfig

ROOT = Path(os.environ.get("DANLU_DATA", "data"))
# Modern prose of both languages, and the share of the text that each gives.
TEXTS = {
    "en_textbooks": 0.25,
    "en_books": 0.2,
    "en_wiki_demo": 0.02,
    "en_wikitext2": 0.03,
    "zh_classical_modern": 0.35,
    "zh_techdocs": 0.15,
}
BY_LAYER = ("sst2", "zh_hotel")  # sets whose table goes layer by layer
SPLIT, SIMILARITY = ExamplesConfig(held_out_share=0.15), ExamplesConfig(task="similarity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the command line asks for."""

    out: Path
    minutes: float
    table_minutes: float
    megabytes: float
    shape: Shape
    vocab_size: int
    models: tuple[str, ...]
    tasks: tuple[str, ...]


def main() -> None:
    plan = parse()
    folder = prepare(plan)
    bases = {name: pretrained(name, folder, plan) for name in plan.models}
    tasks = [task for task in all_tasks(plan.out) if not plan.tasks or task.name in plan.tasks]
    if not tasks:
        raise SystemExit(f"no labelled set is under {ROOT} or {ROOT.with_name('data-nc')}; set DANLU_DATA")
    todo = [(name, task) for name in plan.models for task in tasks if fits(name, task)]
    tables: dict[str, list[dict[str, Any]]] = {}
    for name, task in todo:
        trials = trials_of(bases[name], every_layer=task.name in BY_LAYER)
        out = plan.out / "tables" / name / task.name
        tables[f"{name}, {task.name}"] = run_trials(
            bases[name], task, trials, out, plan.table_minutes / len(todo)
        )
    for title, rows in tables.items():
        print(f"\n== {title}")
        show(rows)


def prepare(plan: Plan) -> Path:
    """Text, vocabulary and shards, once."""
    clean, words, raw = plan.out / "data", plan.out / "tokenizer", plan.out / "raw.jsonl"
    if not (words / "tokenizer.json").exists():
        plan.out.mkdir(parents=True, exist_ok=True)
        raw.write_text("".join(sampled(plan.megabytes)), encoding="utf-8")
        data.run(DataConfig(path=(raw,), out=clean, reading=ReadingConfig(max_document_bytes=1 << 14)))
        tokenizer.run(TokenizerConfig(texts=clean, out=words, vocab_size=plan.vocab_size))
    if not (clean / "shards" / "held_out").exists():
        data.tokenize(clean, words, clean / "shards")
    return clean / "shards"


def sampled(megabytes: float) -> Iterator[str]:
    """Documents of every source in random order, up to its share."""
    found = {name: ROOT / name / "open.jsonl.gz" for name in TEXTS}
    if missing := [str(path) for path in found.values() if not path.is_file()]:
        raise SystemExit(f"{missing[0]} is not there; set DANLU_DATA to the folder of the data sets")
    for name, path in found.items():
        lines = gzip.decompress(path.read_bytes()).splitlines()
        random.Random(0).shuffle(lines)
        left = TEXTS[name] * megabytes * 1e6
        for line in map(json.loads, lines):
            text = line["text"] if "text" in line else "\n".join(line["modern"])
            left -= len(text.encode("utf-8"))
            if left < 0:
                break
            yield json.dumps({"text": text}, ensure_ascii=False) + "\n"


def pretrained(name: str, shards: Path, plan: Plan) -> Path:
    """The base of that name, in its share of the time."""
    shape = replace(plan.shape, family="gpt1") if name == "gpt1" else plan.shape
    config = PretrainConfig(
        tokenizer=plan.out / "tokenizer",
        shards=shards,
        out=plan.out / name,
        objective="mlm" if name == "bert" else "causal",
        model=shape,
        seq_len=128,
        minutes=plan.minutes / len(plan.models),
        optim=OptimConfig(kind="muon", lr=2e-3),
        sample_prompts=(),
    )
    return pretrain.run(config) / "model"


def all_tasks(out: Path) -> Iterator[Task]:
    """The labelled sets that are here: sentiment, acceptability, entailment, similarity, reading."""
    nc = ROOT.with_name("data-nc")
    sst2, rte, sts, few = (nc / name for name in ("cls_sst2", "cls_rte", "cls_stsb", "cls_fewclue"))
    train, dev = "open.train.jsonl.gz", "open.dev.jsonl"
    here = [
        Task(name="sst2", data=sst2 / train, held_out=sst2 / dev, max_len=64),
        Task(name="zh_hotel", data=nc / "cls_zh_sentiment/open.hotel.jsonl.gz", examples=SPLIT),
        Task(
            name="zh_delivery", data=nc / "cls_zh_sentiment/open.waimai.jsonl.gz", examples=SPLIT, max_len=64
        ),
        Task(name="cola", data=nc / "cls_cola" / train, examples=SPLIT, max_len=64),
        Task(name="rte", data=rte / train, held_out=rte / dev),
        Task(name="stsb", data=sts / train, held_out=sts / f"{dev}.gz", examples=SIMILARITY, max_len=96),
        Task(
            name="bustm",
            data=few / "open.bustm.train.jsonl",
            held_out=few / "open.bustm.test.jsonl",
            examples=SIMILARITY,
            max_len=96,
        ),
        Task(
            name="ocnli",
            data=few / "open.ocnli.train.jsonl",
            held_out=few / "open.ocnli.test.jsonl.gz",
            max_len=96,
        ),
    ]
    yield from (task for task in here if task.data.is_file())
    folder = ROOT / "qa_cmrc2018"
    if (folder / "open.questions.jsonl.gz").is_file():
        yield Task(name="cmrc", data=questions(folder, out / "cmrc.jsonl"), examples=SPLIT)


def questions(folder: Path, out: Path) -> Path:
    """Questions with their passages."""
    if not out.exists():
        passages, asked = (
            [
                json.loads(line)
                for line in gzip.decompress((folder / f"open.{name}.jsonl.gz").read_bytes()).splitlines()
            ]
            for name in ("passages", "questions")
        )
        text_of = {each["pid"]: each["text"] for each in passages}
        rows = [
            {"question": each["question"], "context": text_of[each["pid"]], "answers": each["answers"]}
            for each in asked
            if each["question"].strip() and each["answers"][0] in text_of[each["pid"]]
        ]
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        out.write_text("".join(lines), encoding="utf-8")
    return out


def fits(name: str, task: Task) -> bool:
    """Whether other programs have a class for it: GPT-1 has none that finds answers in a passage."""
    return not (name == "gpt1" and task.name == "cmrc")


def parse() -> Plan:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument(
        "--minutes", type=float, default=20.0, help="of pretraining, over all models together"
    )
    parser.add_argument(
        "--table-minutes", type=float, default=60.0, help="of fine-tuning, over all runs together"
    )
    parser.add_argument("--megabytes", type=float, default=40.0, help="of text to pretrain on")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--models", nargs="+", default=["gpt1", "bert"], choices=("gpt1", "bert", "llama"))
    parser.add_argument("--tasks", nargs="+", default=[], help="by default all that are there")
    parser.add_argument("--out", type=Path, default=Path("runs/lineage"))
    given = parser.parse_args()
    heads = given.width // 64
    shape = Shape(
        d_model=given.width, n_layers=given.layers, n_heads=heads, d_ff=4 * given.width, max_seq_len=256
    )
    return Plan(
        out=given.out,
        minutes=given.minutes,
        table_minutes=given.table_minutes,
        megabytes=given.megabytes,
        shape=shape,
        vocab_size=given.vocab_size,
        models=tuple(given.models),
        tasks=tuple(given.tasks),
    )


if __name__ == "__main__":
    main()
