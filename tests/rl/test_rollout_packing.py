from __future__ import annotations

import pytest
import torch

from danlu.data.records import Batch, RolloutBatch, pad_rows
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.objectives.ppo import Ppo, PpoBatch
from danlu.objectives.token_loss import token_logprobs
from danlu.rl.collect import minibatched
from danlu.rl.packing import LEAST_WIDTH, MOST_SHARED, Packing, packed, trees_of
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


def shared_prompts() -> RolloutBatch:
    """Two prompts of 40 tokens with four completions each, and one alone."""
    rng = torch.Generator().manual_seed(5)

    def ids(n: int) -> list[int]:
        return torch.randint(5, 60, (n,), generator=rng).tolist()

    prompts = [ids(40), ids(40), ids(17)]
    rows = [
        [*prompts[i], *ids(n)]
        for i, n in ((0, 8), (0, 3), (1, 5), (0, 12), (1, 9), (1, 2), (0, 6), (1, 7), (2, 4))
    ]
    starts = [40] * 8 + [17]
    batch = pad_rows(
        rows, [[i >= n for i in range(len(row))] for row, n in zip(rows, starts, strict=True)], 0
    )
    mask = batch.loss_mask
    noise = [torch.randn(mask.shape, generator=rng) * mask for _ in range(5)]
    names = ("old_logprobs", "ref_logprobs", "old_values", "advantages", "returns")
    return RolloutBatch(
        **{name: getattr(batch, name) for name in Batch.__slots__}, **dict(zip(names, noise, strict=True))
    )


def test_completions_of_one_prompt_read_it_once(trained: PolicyAndValue):
    rollout = shared_prompts()
    packing = Packing.of(rollout)
    # 39 tokens of each shared prompt once; its last token stands before every completion.
    assert int(packing.filled.sum()) == 2 * 39 + (8 + 3 + 12 + 6) + (5 + 9 + 2 + 7) + (17 + 4 - 1)
    rows = packing.pack(rollout)
    assert int(rows.loss_mask.sum()) == int(rollout.loss_mask.sum())
    assert torch.equal(packing.unpack(rows.advantages) * rollout.loss_mask, rollout.advantages)
    assert int((rows.lengths > 0).sum()) == 9
    assert sorted(rows.lengths.tolist())[-9:] == sorted([8, 3, 5, 12, 9, 2, 6, 7, 4])
    with pytest.raises(ValueError, match="hold trees"):
        _ = rows.inputs


def test_shared_prompts_change_neither_loss_nor_gradient(trained: PolicyAndValue):
    rollout = shared_prompts()
    for average in ("tokens", "completions"):
        objective, found = Ppo(average=average, entropy_coef=0.01), []
        for rows in (rollout, packed(rollout)):
            trained.zero_grad()
            batch = PpoBatch(rows)
            loss, weights = objective(trained, batch), objective.weights(batch)
            total = sum(term.coef * term.total / weights[name] for name, term in loss.terms.items())
            assert isinstance(total, torch.Tensor)
            total.backward()
            gradient = torch.cat([p.grad.flatten() for p in trained.parameters() if p.grad is not None])
            found.append((total.item(), gradient))
        assert found[1][0] == pytest.approx(found[0][0], rel=1e-5)
        assert torch.allclose(found[1][1], found[0][1], atol=1e-6, rtol=1e-4)


def test_a_prompt_is_read_again_where_its_completions_would_make_too_long_a_row():
    rows = [[*range(5, 25), *([7] * 490)] for _ in range(5)]
    batch = pad_rows(rows, [[i >= 20 for i in range(len(row))] for row in rows], 0)
    trees = trees_of(batch)
    assert [len(tree.branches) for tree in trees] == [2, 2, 0]
    assert max(map(len, trees)) <= MOST_SHARED


def test_groups_stay_together_when_a_minibatch_holds_whole_ones():
    rollout = shared_prompts().rows(torch.arange(8))
    for size, together in ((4, 2), (2, 2), (3, 1)):
        seen = [rows.returns[:, 39].tolist() for rows in rollout.shuffled(size, 3, together=2)]
        places = [[rollout.returns[:, 39].tolist().index(x) for x in some] for some in seen]
        assert sorted(i for some in places for i in some) == list(range(8))
        pairs = [tuple(some[i : i + 2]) for some in places for i in range(0, len(some) - 1, 2)]
        whole = all(b == a + 1 and a % 2 == 0 for a, b in pairs)
        assert whole == (together == 2)
