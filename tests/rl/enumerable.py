"""A policy so small that every completion can be listed, and with it the optimum that it should reach."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from danlu.generate.sampler import Completion, Sampler
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.objectives.token_loss import token_logprobs
from danlu.rl.batches import PpoBatches
from danlu.rl.collect import RolloutConfig
from danlu.rl.controller import AdaptiveKl, KlConfig
from danlu.rl.judges import CheckedReward
from danlu.rl.rollout import Prompt, Rollout, lay_out
from danlu.rl.team import PolicyAndValue, Team
from danlu.train.loop import LoopConfig, train
from danlu.train.optim import OptimConfig, build_optimizer
from danlu.train.pace import Pace
from danlu.train.schedule import ScheduleConfig, build_schedule

PROMPT = Prompt("only", [1, 2])
PAD = 0


@dataclass(frozen=True)
class World:
    """One prompt, a vocabulary, the token that ends, and at most so many tokens."""

    vocab_size: int
    stop_id: int
    max_new_tokens: int

    @property
    def completions(self) -> list[tuple[int, ...]]:
        """Everything that can be said."""
        done, open_ = [], [()]
        for _ in range(self.max_new_tokens):
            longer = [(*begun, token) for begun in open_ for token in range(self.vocab_size)]
            done += [each for each in longer if each[-1] == self.stop_id]
            open_ = [each for each in longer if each[-1] != self.stop_id]
        return [*done, *open_]

    def rewards(self, spread: float = 1.0) -> Tensor:
        """A fixed reward of each completion."""
        generator = torch.Generator().manual_seed(5)
        drawn = spread * torch.randn(len(self.completions), generator=generator)
        return drawn - drawn.max()  # a missing end forfeits what is above 0

    def model(self) -> LanguageModel:
        """A reference that is far from uniform."""
        model = LanguageModel(self.config(), seed=3)
        generator = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 2:
                    parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        return model.eval()

    def config(self) -> ModelConfig:
        return ModelConfig(
            vocab_size=self.vocab_size,
            d_model=32,
            n_layers=1,
            n_heads=2,
            n_kv_heads=2,
            head_dim=16,
            d_ff=64,
            max_seq_len=32,
            tie_embeddings=False,
        )

    def rollouts(self) -> list[Rollout]:
        return [
            Rollout(PROMPT, Completion(ids=ids, logprobs=(0.0,) * len(ids), finish_reason="stop"))
            for ids in self.completions
        ]

    @torch.no_grad()
    def token_logprobs(self, model: LanguageModel) -> list[Tensor]:
        """Log-probability of every token of every completion."""
        batch = lay_out(self.rollouts(), PAD)
        each = token_logprobs(model(*batch.inputs), batch.target_ids)
        return [row[mask] for row, mask in zip(each, batch.loss_mask, strict=True)]

    def logprobs(self, model: LanguageModel) -> Tensor:
        """Exact log-probability of every completion."""
        return torch.stack([tokens.sum() for tokens in self.token_logprobs(model)])


@dataclass(frozen=True)
class Stratified:
    """A sampler that draws each completion as often as its probability says, to within one: little noise."""

    world: World
    policy: LanguageModel

    def generate(self, prompts, sampling, n=1):
        tokens = self.world.token_logprobs(self.policy)
        probabilities = torch.stack([each.sum() for each in tokens]).exp().double()
        generator, total = torch.Generator().manual_seed(sampling.seed), n * len(prompts)
        points = (torch.arange(total) + torch.rand(1, generator=generator, dtype=torch.float64)) / total
        drawn = torch.searchsorted(probabilities.cumsum(0), points * probabilities.sum())
        every = [
            Completion(
                ids=ids,
                logprobs=tuple(each.tolist()),
                finish_reason="stop" if ids[-1] == self.world.stop_id else "length",
            )
            for ids, each in zip(self.world.completions, tokens, strict=True)
        ]
        return [every[i] for i in drawn[torch.randperm(total, generator=generator)]]


def total_variation(p: Tensor, q: Tensor) -> float:
    return float(0.5 * (p - q).abs().sum())


def team_of(world: World, rewards: Tensor, *, with_value: bool = True) -> Team:
    """Policy, reference, and a reward that looks the completion up."""
    policy = world.model()
    table = dict(zip(world.completions, rewards.tolist(), strict=True))
    return Team(
        PolicyAndValue(policy, ScoreModel(world.config(), seed=6) if with_value else None),
        deepcopy(policy).requires_grad_(False),
        Sampler(policy, stop_ids={world.stop_id}, max_batch=1024),
        CheckedReward(lambda rollouts: [table[rollout.completion.ids] for rollout in rollouts]),
        PAD,
    )


def batches_of(team: Team, config: RolloutConfig, estimator, kl: KlConfig, **changed) -> PpoBatches:
    controller = AdaptiveKl(kl, n_episodes=10**6)
    return PpoBatches(
        team=team, prompts=[PROMPT], config=config, estimator=estimator, controller=controller, **changed
    )


def learn(batches: PpoBatches, objective, *, n_steps: int, lr: float, grad_accum_steps: int = 1) -> None:
    """The one loop, with a rate that falls to zero."""
    trained = batches.team.trained
    optimizer = build_optimizer(trained, OptimConfig(lr=lr, weight_decay=0.0, eps=1e-5))
    lr_at = build_schedule(ScheduleConfig(warmup_steps=5, decay_fraction=0.7), lr, Pace(n_steps))
    config = LoopConfig(n_steps=n_steps, grad_accum_steps=grad_accum_steps)
    for _ in train(trained, batches, objective, optimizer, lr_at, config):
        pass
