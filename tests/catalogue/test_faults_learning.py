"""Faults of losses, packing, numbers and resuming that other projects shipped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from catalogue import fault
from miniature import CHATS, chat_format, language_model, prompts, sft_batch, team
from torch import Tensor
from torch.testing import assert_close

from danlu.data.records import Batch, DataError
from danlu.data.sft import SftBatches
from danlu.model import attention
from danlu.objectives import token_loss
from danlu.objectives.loss import Loss, Term
from danlu.objectives.token_loss import TokenLoss
from danlu.rl import collect
from danlu.train import checkpoint, loop
from danlu.train.optim import OptimConfig, build_optimizer


def masked(batch: Batch) -> Batch:
    return replace(batch, loss_mask=torch.zeros_like(batch.loss_mask))


def at_least_one(objective: Any, micro_batches: Any, step: int) -> dict[str, Tensor]:
    totals = [objective.weights(batch)["nll"] for batch in micro_batches]
    return {"nll": torch.stack(totals).sum().clamp(min=1)}


@fault(
    "trl #6668 #6671; nanochat #590 #618",
    broken={"danlu.train.loop.total_weights": at_least_one},
)
def test_an_update_in_which_nothing_counts_is_an_error():
    model = language_model()
    optimizer = build_optimizer(model, OptimConfig())
    updates = loop.train(
        model, [masked(sft_batch())], TokenLoss(), optimizer, lambda step: 0.1, loop.LoopConfig(n_steps=1)
    )
    with pytest.raises(DataError, match="every label is masked"):
        next(updates)


def mean_of_the_micro_batch(self: TokenLoss, model: Any, batch: Batch) -> Loss:
    targets = torch.where(batch.loss_mask, batch.target_ids, -1)
    logits = model(*batch.inputs).flatten(0, 1)
    return Loss({"nll": Term(F.cross_entropy(logits, targets.flatten(), ignore_index=-1))})


@fault(
    "nanochat #618 #619 #662",
    broken={"danlu.objectives.token_loss.TokenLoss.__call__": mean_of_the_micro_batch},
)
def test_a_micro_batch_in_which_nothing_counts_changes_nothing():
    def update(*batches: Batch) -> tuple[float, Tensor]:
        model, objective = language_model(), token_loss.TokenLoss()
        weights = loop.total_weights(objective, batches, 0)
        losses = [loop.backward(objective(model, batch), weights) for batch in batches]
        found = model.lm_head.weight.grad
        assert found is not None
        return loop.report(1, losses, weights, 0.0, 0.0, 0.0).loss, found

    loss, gradient = update(sft_batch(), masked(sft_batch()))
    expected_loss, expected_gradient = update(sft_batch())
    assert loss == pytest.approx(expected_loss)
    assert_close(gradient, expected_gradient)


def blind_to_segments(segment_ids: Tensor | None, branch_ids: Tensor | None = None) -> Any:
    return attention.attend_within(None, None)


@fault("minimind #634", broken={"danlu.model.transformer.attend_within": blind_to_segments})
def test_packed_chats_do_not_see_each_other():
    model, packed = language_model(), sft_batch()
    together = model(*packed.inputs)[0]
    for segment in range(len(CHATS)):
        here = packed.segment_ids[0] == segment
        alone = model(packed.input_ids[:, here])[0]
        assert_close(together[here], alone, atol=1e-4, rtol=1e-4)


def padded_at_the_left(rows: Any, masks: Any, pad_id: int, width: int | None = None) -> Batch:
    width = max(len(row) for row in rows) - 1 if width is None else width
    ids = torch.tensor([[pad_id] * (width + 1 - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[False] * (width + 1 - len(each)) + list(each) for each in masks])
    return Batch(
        input_ids=ids[:, :-1],
        target_ids=ids[:, 1:],
        loss_mask=mask[:, 1:],
        position_ids=torch.arange(width).expand(len(rows), width),
        segment_ids=torch.zeros((len(rows), width), dtype=torch.int64),
    )


@fault(
    "DeepSpeed-Chat actor forward; OpenRLHF #217; trl #469",
    broken={"danlu.rl.rollout.pad_rows": padded_at_the_left},
)
def test_padding_changes_no_logprob():
    given = team()
    rollouts = collect.sample(given, prompts(4), collect.RolloutConfig(max_new_tokens=6), 0)

    def logprobs(some: list[collect.Rollout]) -> Tensor:
        batch = collect.lay_out(some, given.pad_id)
        with torch.no_grad():
            logits = given.reference(*batch.inputs)
        return token_loss.token_logprobs(logits, batch.target_ids)[batch.loss_mask]

    alone = torch.cat([logprobs([rollout]) for rollout in rollouts])
    assert_close(logprobs(rollouts), alone, atol=1e-4, rtol=1e-4)
    drawn = torch.tensor([p for rollout in rollouts for p in rollout.completion.logprobs])
    assert_close(logprobs(rollouts), drawn, atol=1e-4, rtol=1e-4)


class Diverged:
    """An objective whose gradient is not finite."""

    def __call__(self, model: Any, batch: Batch) -> Loss:
        return Loss({"nll": Term(model.lm_head.weight.sum() * math.inf)})

    def weights(self, batch: Batch) -> Mapping[str, Tensor]:
        return {"nll": batch.loss_mask.sum()}


@fault(
    "DeepSpeedExamples #307 #419 #444 #489 #586; minimind #369 #505",
    broken={"danlu.train.loop.clip_grad_norm_": lambda parameters, most: torch.zeros(())},
)
def test_a_gradient_that_is_not_finite_stops_the_run_before_the_weights():
    model = language_model()
    before = model.lm_head.weight.detach().clone()
    optimizer = build_optimizer(model, OptimConfig())
    updates = loop.train(
        model, [sft_batch()], Diverged(), optimizer, lambda step: 0.1, loop.LoopConfig(n_steps=1)
    )
    with pytest.raises(FloatingPointError, match=r"gradient norm is (nan|inf)"):
        next(updates)
    assert torch.equal(model.lm_head.weight, before)


def in_the_dtype_of_the_logits(logits: Tensor, target_ids: Tensor, *, temperature: float = 1.0) -> Tensor:
    return (logits / temperature).log_softmax(-1).gather(-1, target_ids.unsqueeze(-1)).squeeze(-1)


@fault(
    "DeepSpeed-Chat: fp16 by default; DeepSpeedExamples #556",
    broken={"danlu.objectives.token_loss.token_logprobs": in_the_dtype_of_the_logits},
)
def test_logprobs_are_float32_whatever_the_model_computes_in():
    logits = torch.tensor([[[8.0, 3.0, -1.0, 0.5]]], dtype=torch.float16)
    exact = 0.5 - math.log(sum(math.exp(x) for x in (8.0, 3.0, -1.0, 0.5)))
    found = token_loss.token_logprobs(logits, torch.tensor([[3]]))
    assert abs(float(found) - exact) < 1e-5


def chat_batches() -> SftBatches:
    return SftBatches(CHATS * 4, chat_format(), batch_size=1, seq_len=64, seed=0)


def updates(model: Any, optimizer: Any, batches: Iterator[Batch], start: int, n_steps: int) -> list[float]:
    config = loop.LoopConfig(n_steps=n_steps)
    reports = loop.train(model, batches, TokenLoss(), optimizer, lambda step: 0.01, config, start=start)
    return [report.loss for report in reports]


@fault(
    "trl #2657; LLaMA-Factory #7538 #8715; nanochat #808; minimind #556; ms-swift #6049",
    broken={"danlu.train.checkpoint.optimizer_tensors": lambda model, optimizer: {}},
)
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path):
    model, batches = language_model(), chat_batches()
    optimizer = build_optimizer(model, OptimConfig())
    whole = updates(model, optimizer, batches, 0, 2)
    checkpoint.save_checkpoint(tmp_path, 2, model, optimizer, {"batches": batches.state_dict()})
    whole += updates(model, optimizer, batches, 2, 5)

    again, later = language_model(), chat_batches()
    its_optimizer = build_optimizer(again, OptimConfig())
    saved = checkpoint.load_latest(tmp_path)
    assert saved is not None
    checkpoint.restore(saved, again, its_optimizer)
    later.load_state_dict(saved.extra["batches"])
    assert updates(again, its_optimizer, later, saved.step, 5) == whole[2:]
    for ours, theirs in zip(again.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@fault("nanochat #808; ms-swift #6049: position in the data")
def test_a_resumed_run_reads_on_where_it_stopped():
    whole, first = chat_batches(), chat_batches()
    expected = [next(whole).input_ids for _ in range(7)]
    for _ in range(3):
        next(first)
    later = chat_batches()
    later.load_state_dict(first.state_dict())
    for ids in expected[3:]:
        assert torch.equal(next(later).input_ids, ids)
