"""What happens in a round of RLHF; stages meet through the files of `round-N/`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from danlu.config import ConfigError, build
from danlu.data.records import DataError
from danlu.data.sources import records
from danlu.evaluate.exam import load_results, save_results
from danlu.recipes import policy, ppo, reward
from danlu.recipes.asking import Amounts, Asking, FileAsks, WorldAsks
from danlu.recipes.embedded import Teacher, TeachingConfig
from danlu.recipes.evaluate import CATEGORY_NAMES, EvaluateConfig, settings_of, which_world
from danlu.recipes.job import Ledger, timed
from danlu.recipes.jsonl import write_jsonl
from danlu.recipes.own_text import SourcesConfig
from danlu.recipes.ranking_tasks import Ranking, Record, distinct, read_ranked, read_rankings
from danlu.recipes.round_settings import RlhfConfig
from danlu.recipes.stage import chat_format_of
from danlu.recipes.yardstick import best_of_n_curve
from danlu.train.checkpoint import replace_file
from danlu.world import annotators


@dataclass(frozen=True, slots=True)
class Rounds(Ledger):
    """A run of several rounds: its settings, who asks, and where everything lies."""

    config: RlhfConfig
    asking: Asking
    home: Path | None  # the run that the SFT model lies in

    def folder(self, number: int) -> Path:
        return self / f"round-{number}"

    def policy(self, number: int) -> Path:
        """The model that a round has made; of round 0 the SFT model."""
        return self.folder(number) / "ppo" / "model" if number else model_of(self.config.sft)

    def judges(self, number: int) -> tuple[Path, ...]:
        """Reward models of a round that nothing is trained on."""
        return tuple(self.folder(number) / f"judge-{k}" / "model" for k in range(1, self.config.judges + 1))

    def waits_for(self, number: int) -> tuple[Path, int, Path] | None:
        """The tasks of a round, how many, and where their rankings are expected, unless they are there."""
        expected = self.folder(number) / "ranked.jsonl"
        if self.config.rankings.by != "people" or expected.exists():
            return None
        tasks = self.folder(number) / "tasks.jsonl"
        return tasks, len(read_lines(tasks)), expected

    @property
    def demonstrations(self) -> Path | None:
        return self.config.demonstrations or self._at_home("teaching", "demonstrations.jsonl")

    @property
    def pretrain_shards(self) -> Path | None:
        return self.config.pretrain_shards or self._at_home("shards", "train")

    def ppo_config(self, number: int) -> ppo.PpoConfig:
        """PPO's settings in a round."""
        config, folder = self.config, self.folder(number)
        watched = self / "watched.jsonl"
        sees = config.judges or config.ppo.guard.measure == "true_score"
        guard = replace(config.ppo.guard, prompts=watched if sees else None, judges=self.judges(number))
        return replace(
            config.ppo,
            policy=self.policy(number - 1),
            reference=None if config.reference == "round" else self.policy(0),
            reward_model=folder / "reward" / "model",
            prompts=folder / "prompts.jsonl",
            out=folder / "ppo",
            demonstrations=self.demonstrations,
            pretrain_shards=self.pretrain_shards,
            seed=config.seed + number,
            guard=guard,
        )

    def _at_home(self, *names: str) -> Path | None:
        path = None if self.home is None else self.home.joinpath(*names)
        return path if path is not None and path.exists() else None


def begin(config: RlhfConfig) -> Rounds:
    """Find the world or the prompts, before anything is written."""
    model = model_of(config.sft)
    chat_format_of(model)  # is it a model at all?
    home = next((folder for folder in model.resolve().parents if (folder / "plan.json").exists()), None)
    amounts = Amounts(config.n_prompts, config.n_watched, config.ppo.rollout.max_new_tokens)
    if config.prompts is None:
        asking: Asking = WorldAsks(teacher_of(config, model, home), config.rankings, amounts, config.seed)
    else:
        asking = FileAsks(read_prompts(config, model), config.rankings, amounts, config.seed)
    return Rounds(config.out, config, asking, home)


def teacher_of(config: RlhfConfig, model: Path, home: Path | None) -> Teacher:
    """The world that the SFT model was raised in."""
    if home is not None and build(SourcesConfig, settings_of(home).get("data", {})).kind == "files":
        raise ConfigError(f"{home} was trained on files; name prompts= for the rounds to ask")
    corpus_bytes, seed = which_world(EvaluateConfig(model=model))
    rankings = config.rankings
    teaching = TeachingConfig(
        n_annotators=rankings.n_annotators,
        n_held_out=config.n_watched,
        n_completions=rankings.n_completions,
        n_borrowed=rankings.n_borrowed if rankings.by == "annotators" else 0,
        max_new_tokens=config.ppo.rollout.max_new_tokens,
    )
    return Teacher(corpus_bytes, teaching, seed, exam_per_cell=config.exam_per_cell)


def read_prompts(config: RlhfConfig, model: Path) -> list[Record]:
    """The prompts of a file, each checked."""
    assert config.prompts is not None
    longest = config.reward.max_len - config.ppo.rollout.max_new_tokens
    policy.read_prompts(config.prompts, chat_format_of(model), longest)
    return [{"id": str(r.fields["id"]), "messages": r.fields["messages"]} for r in records(config.prompts)]


def start(job: Rounds) -> None:
    """What all rounds share, and the SFT model's own examination."""
    watched = job.asking.to_watch()
    if job.config.judges and len(watched) < 8:
        raise ConfigError(
            f"{job.config.prompts}: {len(watched)} prompts, a tenth, fall to the guard, which needs 8; "
            "name more prompts, or set judges=0"
        )
    write_jsonl(job / "watched.jsonl", watched)
    job.asking.examine(None, job.policy(0), (), job / "start")
    compare_rounds(job, 0)


def sample(number: int, job: Rounds) -> None:
    """Completions of the current policy for fresh prompts, as tasks to rank."""
    if job.config.rankings.by == "files":
        return
    tasks = list(job.asking.tasks(job.policy(number - 1), number))
    if job.config.rankings.by == "people":
        told_apart = [{**task, "completions": distinct(task["completions"])} for task in tasks]
        tasks = [task for task in told_apart if len(task["completions"]) > 1]
        if not tasks:
            raise DataError(f"round {number}: the policy gives one and the same answer to every prompt")
    write_jsonl(job.folder(number) / "tasks.jsonl", tasks)


def collect_rankings(number: int, job: Rounds) -> None:
    """The round's rankings, and what all rounds' rankings are for."""
    folder, config = job.folder(number), job.config.rankings
    with timed(folder / "rankings") as summary:
        if config.by == "annotators":
            ranked = job.asking.rank(read_lines(folder / "tasks.jsonl"), number)
            write_jsonl(folder / "ranked.jsonl", ranked)
            summary |= agreement_of(ranked)
        found = rankings_of(number, job)
        write_jsonl(folder / "rankings" / "rankings.jsonl", (ranking.record for ranking in found))
        parts = divide(
            [
                each
                for n in range(1, number + 1)
                for each in read_rankings(job.folder(n) / "rankings" / "rankings.jsonl")
            ],
            config.held_out,
            job.config.judges,
        )
        for name, some in parts.items():
            if some:
                write_jsonl(folder / "teaching" / f"{name}.jsonl", (ranking.record for ranking in some))
            elif name != "held_out":
                raise DataError(f"round {number}: no ranking is left for {name}.jsonl; rank more prompts")
        summary |= {
            "n_rankings": len(found),
            "n_learnt": len(parts["train"]),
            "n_held_out": len(parts["held_out"]),
        }


def rankings_of(number: int, job: Rounds) -> list[Ranking]:
    """What came back, checked against what went out."""
    config, folder = job.config.rankings, job.folder(number)
    if config.by == "files":
        return read_rankings(config.files[number - 1])
    if config.by == "annotators":
        return read_rankings(folder / "ranked.jsonl")
    return read_ranked(folder / "ranked.jsonl", read_lines(folder / "tasks.jsonl"), config.least_ranked)


def divide(rankings: Sequence[Ranking], held_out: float, n_judges: int) -> dict[str, list[Ranking]]:
    """Rankings to learn from and to measure on, and each judge's half of the former.

    Judges come in pairs that have no prompt in common, so that they err apart.
    """
    train = [each for each in rankings if each.lot("held out") >= held_out]
    parts = {"train": train, "held_out": [each for each in rankings if each.lot("held out") < held_out]}
    for k in range(n_judges):
        parts[f"judge-{k + 1}"] = [r for r in train if (r.lot(f"judges {k // 2}") < 0.5) == (k % 2 == 0)]
    return parts


def agreement_of(ranked: Sequence[Any]) -> dict[str, float]:
    """How often two people agree, if any prompt was ranked by two."""
    doubled = len({json.dumps([r["prompt"], r["completions"]]) for r in ranked}) < len(ranked)
    return {"agreement": annotators.agreement(ranked)} if doubled else {}


def train_reward(number: int, job: Rounds) -> None:
    """A reward model on all rounds' rankings, and the judges on their halves, all from the SFT model."""
    folder = job.folder(number)
    held_out = folder / "teaching" / "held_out.jsonl"
    settings = replace(
        job.config.reward,
        base=job.policy(0),
        held_out=held_out if held_out.exists() else None,
        demonstrations=job.demonstrations,
    )
    for k, name in enumerate(["reward", *(f"judge-{k + 1}" for k in range(job.config.judges))]):
        learnt = folder / "teaching" / f"{'train' if name == 'reward' else name}.jsonl"
        seed = job.config.seed + 101 * number + k
        reward.run(replace(settings, comparisons=learnt, out=folder / name, seed=seed))
    measured = job.asking.measure(job.policy(number - 1), folder / "reward" / "model")
    add_to_summary(folder / "reward", measured)


def align(number: int, job: Rounds) -> None:
    """PPO from the current policy."""
    config = job.ppo_config(number)
    write_jsonl(config.prompts, job.asking.to_practise(number))
    ppo.run(config, job.asking.true_score(number))


def measure_best_of_n(number: int, job: Rounds) -> None:
    """The yardstick beside PPO's frontier, where there is one."""
    config = job.ppo_config(number)
    if config.guard.prompts is not None and job.config.best_of:
        curve = best_of_n_curve(config, job.asking.true_score(number), job.config.best_of)
        replace_file(job.folder(number) / "best_of_n.json", json.dumps(curve, indent=1))


def examine(number: int, job: Rounds) -> None:
    """What the round has gained."""
    judges = job.judges(number) or (job.folder(number) / "reward" / "model",)
    folder = job.folder(number) / "evaluate"
    job.asking.examine(job.policy(number - 1), job.policy(number), judges, folder)
    compare_rounds(job, number)


def compare_rounds(job: Rounds, number: int) -> None:
    """The exam's tables of all models so far, each against the one before, the last against the first."""
    names = ["start", *(f"round-{n}" for n in range(1, number + 1))]
    pairs = list(pairwise(names))
    pairs += [(names[0], names[-1])] if number > 1 else []
    for kind in ("exam", "true_score"):
        paths = {
            name: job / name / ("" if name == "start" else "evaluate") / f"{kind}.jsonl" for name in names
        }
        if paths["start"].exists():
            results = {name: load_results(path) for name, path in paths.items()}
            save_results(results, job / "evaluate" / kind, pairs, labels=CATEGORY_NAMES)


def add_to_summary(folder: Path, found: dict[str, Any]) -> None:
    path = folder / "summary.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    replace_file(path, json.dumps({**summary, **found}, ensure_ascii=False, indent=2))


def model_of(path: Path) -> Path:
    """The model directory in a stage's directory, or the path itself."""
    return path / "model" if (path / "model" / "config.json").exists() else path


def read_lines(path: Path) -> list[Record]:
    """What `write_jsonl` wrote."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
