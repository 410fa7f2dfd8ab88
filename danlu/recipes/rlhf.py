"""`danlu rlhf`: sample, rank, reward model, PPO, examine, and again from the policy that this made."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from rich.console import Console

from danlu.evaluate.rounds import build_report
from danlu.recipes import rounds
from danlu.recipes.ranking_tasks import instructions
from danlu.recipes.round_settings import RlhfConfig
from danlu.train.allocator import keep_memory
from danlu.train.run import open_run

SUMMARY = "rounds of RLHF: sample, rank, reward model, PPO, evaluate, and again"
GROWING = ("rounds", "rankings.files")  # may differ when a run is taken up again


def run(config: RlhfConfig) -> Path:
    """Every round that is not done; where people are waited for, up to there."""
    console = Console()
    keep_memory()
    job = rounds.begin(config)
    open_run(config.out, config, free=GROWING)
    job.do("start", rounds.start)
    for number in range(1, config.rounds + 1):
        to_do = {f"round-{number}/{name}": name for name in STAGES}
        to_do = {key: name for key, name in to_do.items() if key not in job.done()}
        for key, name in to_do.items():
            console.rule(key)
            if name == "rankings" and (waiting := job.waits_for(number)):
                console.print(instructions(number, *waiting), highlight=False, markup=False, soft_wrap=True)
                return config.out
            job.do(key, partial(STAGES[name], number))
        if to_do and number < config.rounds:
            build_report(config.out)
    build_report(config.out)
    console.print(f"report: {config.out / 'report.html'}", highlight=False)
    console.print(f"talk to it: danlu chat {job.policy(config.rounds)}", highlight=False)
    return config.out


STAGES = {
    "sample": rounds.sample,
    "rankings": rounds.collect_rankings,
    "reward": rounds.train_reward,
    "ppo": rounds.align,
    "best_of_n": rounds.measure_best_of_n,
    "evaluate": rounds.examine,
}
