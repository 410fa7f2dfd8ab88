"""PPO, GRPO and reward models beside TRL's trainers: same model, prompts, lengths and epochs, in turns.

    pip install -e '.[bench]'
    python bench/rlhf.py ppo         completions a second
    python bench/rlhf.py grpo
    python bench/rlhf.py reward      comparisons a second, six answers a prompt

TRL is the last release that has a PPOTrainer. Its settings compete: fp32 or bf16 autocast, eager or
compiled (what samples is never compiled, since its shapes change at every token). Every process keeps its
memory as ours does. One turn is a rollout of 64 completions with all its updates, or one update of a reward
model.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from turns import Worker, median_ratio, serve

from danlu.data.chats import Comparison
from danlu.data.rankings import Group, lay_out
from danlu.data.records import RankingBatch
from danlu.generate.sampler import Sampler
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import load_language_model, load_score_model, save_model
from danlu.model.precision import Precision, apply_precision
from danlu.model.presets import LLAMA
from danlu.objectives.loss import Objective
from danlu.objectives.ppo import Ppo, Surrogate
from danlu.objectives.ranking import Ranking
from danlu.rl.advantages import Baseline, Gae
from danlu.rl.batches import PpoBatches
from danlu.rl.collect import RolloutConfig
from danlu.rl.controller import AdaptiveKl, KlConfig
from danlu.rl.judges import CheckedReward
from danlu.rl.rollout import Prompt
from danlu.rl.scoring import reward_of
from danlu.rl.team import PolicyAndValue, Team
from danlu.train.allocator import keep_memory
from danlu.train.loop import LoopConfig, StepReport, train
from danlu.train.optim import OptimConfig, build_optimizer

OURS = "danlu"
THEIRS = ("trl-fp32", "trl-bf16", "trl-fp32-compiled", "trl-bf16-compiled")
METHODS = ("ppo", "grpo", "reward")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What every competitor does in a turn."""

    vocab_size: int = 8192
    n_layers: int = 6
    d_model: int = 384
    n_prompts: int = 512
    prompt_len: int = 64
    completion_len: int = 64
    n_episodes: int = 64  # a turn of PPO and GRPO
    minibatch_size: int = 16
    n_epochs: int = 4
    n_completions: int = 8  # of a prompt, in GRPO
    n_ranked: int = 6  # answers a ranking
    n_rankings: int = 4  # an update of a reward model
    n_updates: int = 1  # a turn of a reward model
    lr: float = 1e-5
    kl_coef: float = 0.05

    @property
    def pairs_per_ranking(self) -> int:
        return self.n_ranked * (self.n_ranked - 1) // 2

    def per_turn(self, method: str) -> int:
        """Completions, or comparisons, of one turn."""
        return (
            self.n_updates * self.n_rankings * self.pairs_per_ranking
            if method == "reward"
            else self.n_episodes
        )

    def prompts(self) -> list[list[int]]:
        """Random ids; the first two are left to padding and end."""
        generator = torch.Generator().manual_seed(0)
        shape = (self.n_prompts, self.prompt_len)
        return torch.randint(2, self.vocab_size, shape, generator=generator).tolist()

    def ranked(self) -> Iterator[tuple[list[int], list[list[int]]]]:
        """Prompts, each with answers in order, the best first."""
        generator = torch.Generator().manual_seed(1)
        shape = (self.n_ranked, self.completion_len)
        for prompt in self.prompts():
            yield prompt, torch.randint(2, self.vocab_size, shape, generator=generator).tolist()


def main() -> None:
    arguments = parse()
    if arguments.worker:
        work(arguments.method, arguments.worker, Path(arguments.folder), arguments.threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_models(Task(), Path(folder))
        shared = [arguments.method, "--folder", folder, "--threads", str(arguments.threads)]
        names = (OURS, *arguments.competitors)
        workers = [Worker(name, [*shared, "--worker", name]) for name in names]
        for _ in range(arguments.rounds):
            for worker in workers:
                worker.turn()
        print_table(arguments, workers)
        for worker in workers:
            worker.close()


def parse() -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--competitors", nargs="+", choices=THEIRS, default=list(THEIRS))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


def print_table(arguments: argparse.Namespace, workers: list[Worker]) -> None:
    unit = "comparisons/s" if arguments.method == "reward" else "completions/s"
    print(f"{arguments.method}, {arguments.threads} threads, {arguments.rounds} rounds in turns")
    print(f"{'':20}{unit:>14}{'ours is':>9}{'first, s':>9}{'GB':>6}")
    for worker in workers:
        speed = Task().per_turn(arguments.method) / statistics.median(worker.seconds)
        ratio = median_ratio(worker, workers[0])
        print(f"{worker.name:20}{speed:14.2f}{ratio:8.2f}x{worker.first_s:9.1f}{worker.memory_gb:6.1f}")


def write_models(task: Task, folder: Path) -> None:
    """The policy that all begin with, which is the reference too, and the reward model."""
    config = LLAMA(
        vocab_size=task.vocab_size,
        d_model=task.d_model,
        n_layers=task.n_layers,
        n_heads=task.d_model // 64,
        n_kv_heads=task.d_model // 64,
        head_dim=64,
        d_ff=1024,
        max_seq_len=256,
    )
    save_model(LanguageModel(config), folder / "policy")
    save_model(ScoreModel(config, seed=1), folder / "reward")


def work(method: str, name: str, folder: Path, threads: int) -> None:
    keep_memory()
    torch.set_num_threads(threads)
    if name == OURS:
        serve({"ppo": our_ppo, "grpo": our_grpo, "reward": our_reward}[method](Task(), folder))
    else:
        from trl_side import train_with_trl  # only those that take part load TRL

        train_with_trl(method, name, Task(), folder)


def our_ppo(task: Task, folder: Path) -> Callable[[], float]:
    value = in_bfloat16(load_score_model(folder / "reward"))
    return turns_of_policy(task, folder, Ppo(), Gae(), KlConfig(init_coef=task.kl_coef, target=None), value)


def our_grpo(task: Task, folder: Path) -> Callable[[], float]:
    kl = KlConfig(init_coef=task.kl_coef, target=None, estimator="k3", place="loss")
    return turns_of_policy(task, folder, Surrogate(average="completions"), Baseline(), kl, None)


def turns_of_policy(
    task: Task,
    folder: Path,
    objective: Surrogate,
    estimator: Gae | Baseline,
    kl: KlConfig,
    value: ScoreModel | None,
) -> Callable[[], float]:
    """A rollout and the updates that follow it."""
    policy, reference = (in_bfloat16(load_language_model(folder / "policy")) for _ in range(2))
    reward = in_bfloat16(load_score_model(folder / "reward")).requires_grad_(False)
    sampler = Sampler(policy, stop_ids=(), max_batch=task.n_episodes)
    trained = PolicyAndValue(policy, value)
    team = Team(trained, reference.requires_grad_(False), sampler, CheckedReward(reward_of(reward, 0)), 0)
    rollout = RolloutConfig(
        n_episodes=task.n_episodes,
        n_completions=task.n_completions if value is None else 1,
        minibatch_size=task.minibatch_size,
        n_epochs=task.n_epochs,
        max_new_tokens=task.completion_len,
    )
    batches = PpoBatches(
        team=team,
        prompts=[Prompt(str(i), ids) for i, ids in enumerate(task.prompts())],
        config=rollout,
        estimator=estimator,
        controller=AdaptiveKl(kl, 1_000_000),
    )
    return turns_of(trained, batches, objective, task, rollout.n_minibatches)


def our_reward(task: Task, folder: Path) -> Callable[[], float]:
    model = in_bfloat16(load_score_model(folder / "reward"))
    return turns_of(model, rankings(task), Ranking(), task, task.n_updates)


def rankings(task: Task) -> Iterator[RankingBatch]:
    """Batches of rankings, for ever."""
    ranks = list(range(1, task.n_ranked + 1))
    groups = [
        Group(prompt, answers, Comparison(prompt=(), completions=(), ranks=ranks))
        for prompt, answers in task.ranked()
    ]
    while True:
        for first in range(0, len(groups), task.n_rankings):
            yield lay_out(groups[first : first + task.n_rankings], 0)


def in_bfloat16(model: Any) -> Any:
    apply_precision(model.eval(), Precision(dtype="bfloat16", kernels="packed"))
    return model


def turns_of(
    model: nn.Module, batches: Any, objective: Objective[Any], task: Task, n_updates: int
) -> Callable[[], float]:
    """So many updates a turn."""
    optimizer = build_optimizer(model, OptimConfig(lr=task.lr, weight_decay=0.0))
    updates: Iterator[StepReport] = train(
        model, batches, objective, optimizer, lambda step: task.lr, LoopConfig(n_steps=10**9)
    )

    def turn() -> float:
        loss = 0.0
        for _ in range(n_updates):
            loss = next(updates).loss
        return loss

    return turn


if __name__ == "__main__":
    main()
