"""How well a model learns to answer about pictures, from nothing: every stage as its command runs it.

    python bench/pictures.py                     the small model, about a quarter of an hour on one core
    python bench/pictures.py --compare 400000 --out runs/pictures

A tokenizer is learnt from the questions, a model is drawn at random and given an encoder of pictures, and
`danlu sft` trains both on the world's chats about pictures, three files one after another: what is where,
what has to be found by its name, and all questions. What counts is the exam's category `pictures`:
combinations of shapes, colours and relations that no training question named, on pictures that nobody has
seen. Shares of right answers come with Wilson's 95 % intervals.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from danlu.evaluate.exam import Graded, run_exam
from danlu.evaluate.statistics import wilson
from danlu.model.config import PatchConfig
from danlu.model.heads import LanguageModel
from danlu.recipes.answering import answerer
from danlu.recipes.pictures import PicturesConfig
from danlu.recipes.pictures import run as write_pictures
from danlu.recipes.pretrain import Shape
from danlu.recipes.sft import SftConfig
from danlu.recipes.sft import run as fine_tune
from danlu.recipes.speaker import load_speaker
from danlu.recipes.stage import publish
from danlu.tokenizer.bpe import Tokenizer
from danlu.train.optim import OptimConfig
from danlu.train.schedule import ScheduleConfig
from danlu.world.grading import grade
from danlu.world.seeing import kind_of, seeing_questions

SHAPE = Shape(d_model=128, n_layers=4, n_heads=4, n_kv_heads=2, head_dim=32, d_ff=336, max_seq_len=256)
VOCAB_SIZE = 512
LESSONS = {"look": 30_000, "find": 250_000, "compare": 250_000}  # pictures of each, in this order


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory() as folder:
        out: Path = arguments.out or Path(folder)
        model = learn(out, arguments)
        results = examine(model, arguments.questions)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for lesson, n in LESSONS.items():
        parser.add_argument(f"--{lesson}", type=int, default=n, help=f"pictures to learn from (default {n})")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--patch", type=int, default=16, help="pixels along each side of a patch")
    parser.add_argument("--questions", type=int, default=400, help="of the exam, in each language")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder to keep; a run that was cut off goes on there")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    return parser.parse_args()


def learn(out: Path, arguments: argparse.Namespace) -> Path:
    """The run directory of a model that was trained on pictures alone."""
    if not (out / "data").exists():
        n = {f"n_{lesson}": getattr(arguments, lesson) for lesson in LESSONS}
        write_pictures(PicturesConfig(out=out / "data", seed=arguments.seed, **n))
    base = out / "base"
    if not base.exists():
        some = (texts(out / "data" / f"{lesson}.jsonl") for lesson in LESSONS)
        tokenizer = Tokenizer.train(chain.from_iterable(some), VOCAB_SIZE)
        publish(LanguageModel(SHAPE.model_config(tokenizer.vocab_size)), tokenizer, base)
    for lesson in LESSONS:
        base = fine_tune(lesson_of(lesson, base, out, arguments))
    return base


def lesson_of(lesson: str, base: Path, out: Path, arguments: argparse.Namespace) -> SftConfig:
    """Settings of one run of `danlu sft`: the first makes an encoder, the last measures its loss."""
    settings = SftConfig(
        base=base,
        data=out / "data" / f"{lesson}.jsonl",
        out=out / lesson,
        batch_size=16,
        n_epochs=1.0,
        optim=OptimConfig(kind="muon", lr=arguments.lr),
        schedule=ScheduleConfig(decay_fraction=0.6 if lesson == "compare" else 0.2),
        seed=arguments.seed,
        save_every=250,
        sample_prompts=(),
    )
    if lesson == "look":
        pictures = PatchConfig(patch=arguments.patch, d_model=96, d_ff=288)
        return replace(settings, see=True, pictures=pictures)
    if lesson == "compare":
        return replace(settings, held_out=out / "data" / "held_out.jsonl", eval_every=1000)
    return settings


def texts(path: Path) -> list[str]:
    """What is said in the first chats, and by whom, for learning a tokenizer."""
    with path.open(encoding="utf-8") as file:
        return [said(message) for line in islice(file, 3000) for message in json.loads(line)["messages"]]


def said(message: Mapping[str, Any]) -> str:
    content = message["content"]
    return f"{message['role']}\n{content if isinstance(content, str) else content[-1]['text']}"


def examine(model: Path, n_per_lang: int) -> dict[str, dict[str, float]]:
    """Print and return the share of right answers: in all, and by kind and language."""
    graded = run_exam(seeing_questions("exam", n_per_lang, 0), answerer(load_speaker(model)), grade)
    groups = {"all": graded}
    for each in graded:
        for name in (
            kind_of(each.question_id),
            each.language,
            f"{kind_of(each.question_id)} {each.language}",
        ):
            groups.setdefault(name, []).append(each)
    return {name: show(name, some) for name, some in groups.items()}


def show(name: str, graded: Sequence[Graded]) -> dict[str, float]:
    """One line: right answers of so many questions, with the interval."""
    right = sum(each.score == 1 for each in graded)
    interval = wilson(right, len(graded)).to_tree()
    mean, low, high = (100 * interval[bound] for bound in ("mean", "low", "high"))
    print(f"{name:<12} {right:4} of {len(graded):4}  {mean:5.1f} % [{low:.1f}, {high:.1f}]")
    return interval


if __name__ == "__main__":
    main()
