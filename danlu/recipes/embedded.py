"""The embedded world as a teacher: corpus, demonstrations, annotators, prompts and exam, written as files.

Stages read the files and nothing else; the truth stays here, where it grades.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from danlu.evaluate.exam import Graded, run_exam, save_results
from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.model.hf import load_language_model
from danlu.recipes import data
from danlu.recipes.answering import answerer, few_shot_answerer
from danlu.recipes.evaluate import CATEGORY_NAMES
from danlu.recipes.evaluate import show as show_exam
from danlu.recipes.jsonl import write_jsonl
from danlu.recipes.noise_free import noise_free_agreement
from danlu.recipes.plan import Plan
from danlu.recipes.speaker import Speaker
from danlu.recipes.stage import chat_format_of
from danlu.tokenizer.chat import Message
from danlu.train.optim import OptimConfig
from danlu.world import annotators
from danlu.world.corpus import write_corpus
from danlu.world.demonstrations import demonstrations
from danlu.world.grading import grade
from danlu.world.judging import true_score
from danlu.world.names import LANGS
from danlu.world.question import Question
from danlu.world.splits import Split, generator
from danlu.world.tasks import CATEGORIES, cell, questions
from danlu.world.truth import World, WorldSize


@dataclass(frozen=True, slots=True, kw_only=True)
class TeachingConfig:
    """How much the people of the world teach."""

    n_demonstrations: int = 0  # 0: as many as the plan has time for
    n_annotators: int = 8
    n_rankings: int = 0  # prompts whose completions are ranked; 0: as many as the plan has time for
    n_held_out: int = 220  # further prompts, ranked for measuring the reward model
    n_completions: int = 6  # ranked for each prompt, 4 to 9
    n_borrowed: int = 3  # of these, sampled for another prompt: what an answer is about then matters
    n_prompts: int = 8000  # prompts for PPO
    max_new_tokens: int = 48


def teach_within(config: TeachingConfig, plan: Plan) -> TeachingConfig:
    """Demonstrations and rankings as many as can be learnt from in the time planned for them."""
    if not config.n_demonstrations:
        fitting = plan.seconds["sft"] * plan.tokens_per_s / SFT_TOKENS
        config = replace(config, n_demonstrations=round_down(fitting, 200, 12_000))
    if not config.n_rankings:
        fitting = plan.seconds["reward"] * plan.tokens_per_s / RANKING_TOKENS
        config = replace(config, n_rankings=round_down(fitting, 200, 24_000))
    return config


def round_down(number: float, least: int, most: int) -> int:
    """To whole hundreds, within limits."""
    return max(least, min(most, int(number) // 100 * 100))


class Teacher:
    """A world of a given seed and size, and how much its people teach."""

    def __init__(
        self, corpus_bytes: int, config: TeachingConfig, seed: int, *, exam_per_cell: int = 20
    ) -> None:
        self.corpus_bytes, self.config, self.seed = corpus_bytes, config, seed
        self.exam_per_cell = exam_per_cell
        self.world = World.create(seed, WorldSize.for_bytes(corpus_bytes))

    def write_texts(self, raw: Path, clean: Path) -> None:
        """Raw text, dirt included, and what cleaning makes of it."""
        write_corpus(self.world, raw, self.corpus_bytes, self.seed)
        data.run(data.DataConfig(path=(raw,), out=clean))

    def settings(self, stage: str, seconds: float) -> dict[str, Any]:
        """What differs from the defaults of a stage."""
        time = {"minutes": seconds / 60}
        many_passes = {"n_epochs": SFT_EPOCHS, "optim": OptimConfig(kind="muon", lr=SFT_RATE)}
        return {"sft": time | many_passes, "reward": time}.get(stage, {})

    def write_demonstrations(self, path: Path) -> None:
        """What people answered to train questions."""
        write_jsonl(path, demonstrations(self.world, self.config.n_demonstrations, self.seed))

    def write_prompts(self, path: Path) -> None:
        """What the policy is asked while PPO trains it."""
        records = [{"id": q.id, "messages": list(q.messages)} for q in self.prompts.values()]
        write_jsonl(path, records)

    def write_rankings(self, model: Path, train: Path, held_out: Path) -> dict[str, Any]:
        """Sample completions from a model and have people rank them; the held-out ones also without noise."""
        config = self.config
        wanted = config.n_rankings + config.n_held_out
        asked = list(self.practise(wanted, self.seed + 1).values())
        completions = sample_completions(model, asked, config, self.seed)
        people = annotators.pool(self.seed, config.n_annotators)
        records = list(annotators.collect(asked, completions, people, self.seed))
        # Cells come one after the other: every n-th prompt is held out, so that all of them are measured.
        step = max(2, len(records) // max(1, config.n_held_out))
        write_jsonl(train, [r for i, r in enumerate(records) if i % step])
        write_jsonl(held_out, [r for i, r in enumerate(records) if not i % step])
        return {"n_rankings": len(records), "agreement": annotators.agreement(records)}

    def judge(self, model: Path, reward_model: Path) -> dict[str, Any]:
        """How often the reward model orders a model's answers to fresh questions as the truth does."""
        asked = list(self.draw("dev", self.config.n_held_out, self.seed).values())
        completions = sample_completions(model, asked, self.config, self.seed)
        return {"noise_free": noise_free_agreement(reward_model, asked, completions)}

    def true_score(self, prompt_id: str, completion: str) -> float:
        """What a well-informed person would say of a completion to one of PPO's prompts, 0 to 1."""
        return true_score(self.prompts[prompt_id], completion)

    def examine(self, speakers: Mapping[str, Speaker], folder: Path) -> dict[str, Any]:
        """The exam, which no stage has seen; the base model is shown four solved questions before each."""
        asked = questions(self.world, "exam", self.exam_per_cell, self.seed)
        results: dict[str, list[Graded]] = {}
        for name, speaker in speakers.items():
            few_shot = name == "base"
            answer = few_shot_answerer(speaker, self.world, asked) if few_shot else answerer(speaker)
            results[name] = run_exam(asked, answer, grade)
        return save_results(results, folder, labels=CATEGORY_NAMES)

    def references(self, clean: Path) -> dict[str, dict[str, float]]:
        """Bits per byte of others on the held-out text: nobody else is asked about this world."""
        return {}

    def conclude(self, run_dir: Path) -> None:
        """Show how the exam went."""
        show_exam(json.loads((run_dir / "evaluate" / "summary.json").read_text(encoding="utf-8")))

    @cached_property
    def prompts(self) -> dict[str, Question]:
        """PPO's questions by id."""
        return self.practise(self.config.n_prompts, self.seed + 2)

    def practise(self, n: int, seed: int) -> dict[str, Question]:
        """About `n` train questions for rankings and PPO, some kinds `TIMES_ASKED` as often as others."""
        n_equal = round(
            n * len(CATEGORIES) / (len(CATEGORIES) + sum(TIMES_ASKED.values()) - len(TIMES_ASKED))
        )
        drawn = self.draw("train", n_equal, seed)
        for category, times in TIMES_ASKED.items():
            n_more = (times - 1) * n_equal // (len(CATEGORIES) * len(LANGS))
            for lang in LANGS:
                more = cell(self.world, "train", category, lang, n_more, seed + 1_000_000)
                drawn |= {question.id: question for question in more}
        return drawn

    def draw(self, split: Split, n: int, seed: int) -> dict[str, Question]:
        """About `n` questions, cells in equal parts and interleaved."""
        cells = len(CATEGORIES) * len(LANGS)
        drawn = questions(self.world, split, -(-n // cells), seed)
        per_cell = len(drawn) // cells
        mixed = [drawn[cell * per_cell + i] for i in range(per_cell) for cell in range(cells)]
        return {question.id: question for question in mixed}


def sample_completions(
    model_dir: Path, asked: Sequence[Question], config: TeachingConfig, seed: int
) -> list[list[str]]:
    """Several answers of a model to each question, at temperature 1, and some that it gave to others."""
    prompts = [cast(Sequence[Message], question.messages) for question in asked]
    sampling = SamplingConfig(max_new_tokens=config.max_new_tokens, seed=seed)
    own = sample_texts(model_dir, prompts, sampling, config.n_completions - config.n_borrowed)
    borrowed = borrow(asked, own, config.n_borrowed, seed)
    return [[*mine, *others] for mine, others in zip(own, borrowed, strict=True)]


def sample_texts(
    model_dir: Path, prompts: Sequence[Sequence[Message]], sampling: SamplingConfig, n: int
) -> list[list[str]]:
    """`n` answers of a model to each prompt."""
    chat_format = chat_format_of(model_dir)
    model = load_language_model(model_dir).eval()
    sampler = Sampler(model, stop_ids=chat_format.stop_ids, max_batch=128)
    completions = sampler.generate([chat_format.prompt(prompt) for prompt in prompts], sampling, n=n)
    texts = [str(chat_format.parse(completion.ids)["content"]) for completion in completions]
    return [texts[i : i + n] for i in range(0, len(texts), n)]


def borrow(asked: Sequence[Question], own: Sequence[Sequence[str]], n: int, seed: int) -> Iterator[list[str]]:
    """For each question, `n` answers that were given to others: to refuse, of the same kind, and to anything.

    A model that answers everything in the right manner shows nobody a refusal where one is wrong, or the
    right kind of answer about somebody else; a reward model would never learn that these are worth nothing.
    """
    cells: dict[tuple[str, str], list[int]] = {}
    for index, question in enumerate(asked):
        cells.setdefault((question.category, question.lang), []).append(index)
    for question in asked:
        rng = generator("borrow", seed, question.id)
        alike = cells[question.category, question.lang]
        refused = [i for name in REFUSED for i in cells.get((name, question.lang), alike)]
        sources = [rng.choice(rng.choice((refused, refused, alike, range(len(asked))))) for _ in range(n)]
        yield [rng.choice(own[source]) for source in sources]


REFUSED = ("unanswerable", "harmful")  # where an assistant should not answer
# Demonstrations show little of this, so people rank and PPO practises more of it.
TIMES_ASKED = {"unanswerable": 3, "harmful": 3}
SFT_EPOCHS, SFT_RATE = 5.0, 5e-3  # fewer epochs where the time is short
# Tokens of pretraining that take as long as learning from a demonstration (three epochs) or a ranking (one).
SFT_TOKENS, RANKING_TOKENS = 160, 170
