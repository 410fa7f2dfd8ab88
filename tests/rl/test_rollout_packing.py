from __future__ import annotations

import pytest
import torch

from danlu.data.records import Batch, RolloutBatch, pad_rows
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.objectives.ppo import Ppo, PpoBatch
from danlu.objectives.token_loss import token_logprobs
from danlu.rl.collect import minibatched
from danlu.rl.packing import LEAST_WIDTH, Packing, packed
from danlu.rl.team import PolicyAndValue

LENGTHS = [9, 70, 33, 5, 60, 58, 41, 100, 12]
PROMPT = 3


@pytest.fixture
def rollout() -> RolloutBatch:
    rng = torch.Generator().manual_seed(3)
    rows = [torch.randint(5, 60, (n + 1,), generator=rng).tolist() for n in LENGTHS]
    batch = pad_rows(rows, [[i >= PROMPT for i in range(len(row))] for row in rows], pad_id=0)
    mask = batch.loss_mask

    def noise(scale: float) -> torch.Tensor:
        return scale * torch.randn(mask.shape, generator=rng) * mask

    return RolloutBatch(
        **{name: getattr(batch, name) for name in Batch.__slots__},
        old_logprobs=(-4 + noise(0.1)) * mask,
        ref_logprobs=(-4 + noise(0.1)) * mask,
        old_values=noise(0.1),
        advantages=noise(1.0),
        returns=noise(0.5),
    )


@pytest.fixture
def trained() -> PolicyAndValue:
    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=64, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, d_ff=64, max_seq_len=128
    )
    policy = LanguageModel(config)
    return PolicyAndValue(policy, ScoreModel.from_language_model(LanguageModel(config)))


def test_sequences_lie_whole_in_few_rows_at_positions_of_their_own(rollout: RolloutBatch):
    packing = Packing.of(rollout)
    rows = packing.pack(rollout)
    assert rows.input_ids.shape == (4, LEAST_WIDTH)  # 388 positions; nine rows of 100 as they came
    assert int(rows.loss_mask.sum()) == sum(LENGTHS) - (PROMPT - 1) * len(LENGTHS)
    found = []
    for row in range(len(rows)):
        for segment in rows.segment_ids[row][packing.filled[row]].unique():
            here = rows.segment_ids[row] == segment
            assert rows.position_ids[row][here].tolist() == list(range(int(here.sum())))
            found.append(rows.input_ids[row][here].tolist())
    whole = [rollout.input_ids[i, :n].tolist() for i, n in enumerate(LENGTHS)]
    assert sorted(found) == sorted(whole)


def test_what_is_unpacked_is_what_was_packed(rollout: RolloutBatch):
    packing = Packing.of(rollout)
    back = packing.unpack(packing.pack(rollout).advantages)
    assert torch.equal(back, rollout.advantages)


def test_packed_rows_get_the_log_probabilities_of_padded_ones(rollout: RolloutBatch, trained: PolicyAndValue):
    def logprobs(batch: Batch) -> torch.Tensor:
        return token_logprobs(trained.policy(*batch.inputs), batch.target_ids)

    with torch.no_grad():
        padded, (unpacked,) = logprobs(rollout), minibatched(lambda rows: (logprobs(rows),), rollout, 4)
    mask = rollout.loss_mask
    assert torch.allclose(unpacked[mask], padded[mask], atol=1e-5)


def test_packing_changes_neither_loss_nor_gradient(rollout: RolloutBatch, trained: PolicyAndValue):
    losses, gradients = [], []
    for rows in (rollout, packed(rollout)):
        trained.zero_grad()
        batch = PpoBatch(rows)
        loss, weights = Ppo()(trained, batch), Ppo().weights(batch)
        total = sum(term.coef * term.total / weights[name] for name, term in loss.terms.items())
        assert isinstance(total, torch.Tensor)
        total.backward()
        losses.append(total.item())
        gradients.append(torch.cat([p.grad.flatten() for p in trained.parameters() if p.grad is not None]))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert torch.allclose(gradients[1], gradients[0], atol=1e-6, rtol=1e-4)
