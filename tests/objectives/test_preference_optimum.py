"""On a policy that is a table, training must end where theory says.

Answers have whole-number strengths w. People prefer i to j with probability w_i / (w_i + w_j), which is
Bradley-Terry with the planted reward log w; so many copies of each ordered pair as that asks for make the
probabilities exact.
"""

from __future__ import annotations

from itertools import permutations, repeat

import pytest
import torch
from torch import nn, tensor
from torch.testing import assert_close

from danlu.data.records import PreferenceBatch
from danlu.objectives.preference import Preference
from danlu.train.loop import LoopConfig, train


class Table(nn.Module):
    """A policy over answers of one token: a logit for each."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(logits.clone())

    def target_logprobs(self, inputs, target_ids, loss_mask):
        return self.logits.log_softmax(-1)[target_ids[loss_mask]]

    @property
    def probabilities(self):
        return self.logits.detach().softmax(-1)


def pairs_batch(pairs, reference):
    """A comparison for every (better, worse), their answers one after the other."""
    answers = tensor([pairs]).view(1, -1)
    n = answers.shape[1]
    blank = torch.zeros_like(answers)
    return PreferenceBatch(
        input_ids=blank,
        target_ids=answers,
        loss_mask=torch.ones_like(answers, dtype=torch.bool),
        completion_ids=torch.arange(n)[None],
        position_ids=blank,
        segment_ids=blank,
        branch_ids=blank,
        group_ids=torch.arange(n) // 2,
        ranks=torch.arange(n) % 2 + 1,
        ref_logprobs=reference.log_softmax(-1)[answers[0]],
    )


def trained(objective, batch, reference, *, n_steps=300, lr=0.1):
    """The policy after `n_steps` updates through the loop of every stage."""
    model = Table(reference)
    optimizer = torch.optim.Adam(model.parameters())
    config = LoopConfig(n_steps=n_steps, max_grad_norm=1e9)
    reports = train(
        model, repeat(batch), objective, optimizer, lambda step: lr * (1 - step / n_steps), config
    )
    assert len(list(reports)) == n_steps
    return model.probabilities


def total_variation(p, q):
    return float((p - q).abs().sum() / 2)


def skewed(n):
    return torch.randn(n, generator=torch.Generator().manual_seed(0))


def test_dpo_reaches_the_reference_times_the_exponential_reward():
    strengths = tensor([1, 2, 3, 4] * 3)
    reference, beta = skewed(len(strengths)), 0.5
    pairs = [pair for pair in permutations(range(len(strengths)), 2) for _ in range(int(strengths[pair[0]]))]
    found = trained(Preference(beta=beta), pairs_batch(pairs, reference), reference)
    optimum = (reference + strengths.log() / beta).softmax(-1)  # pi_ref exp(r / beta) / Z
    assert total_variation(reference.softmax(-1), optimum) > 0.3
    assert total_variation(found, optimum) < 1e-4


@pytest.mark.parametrize("beta", [0.2, 1.0])
def test_ipo_reaches_its_own_optimum(beta):
    # w_i / (w_i + w_j) is a multiple of 1/12 for strengths 1 and 3: each pair of answers has 12 comparisons.
    strengths = tensor([1, 3, 1, 3, 3, 1, 1])
    reference = skewed(len(strengths))
    pairs = [
        (i, j)
        for i, j in permutations(range(len(strengths)), 2)
        for _ in range(int(12 * strengths[i] // (strengths[i] + strengths[j])))
    ]
    found = trained(Preference(variant="ipo", beta=beta), pairs_batch(pairs, reference), reference)
    # Azar et al. 2023: an answer's reward is how often it beats one drawn from all, itself included.
    wins = (strengths[:, None] / (strengths[:, None] + strengths)).mean(1)
    optimum = (reference + wins / beta).softmax(-1)
    assert total_variation(reference.softmax(-1), optimum) > 0.05
    assert total_variation(found, optimum) < 1e-4


def test_dpo_on_labels_that_never_disagree_has_no_optimum_and_ipo_has():
    reference, sure = torch.zeros(2), [(0, 1)]
    longer = [
        trained(Preference(beta=0.5), pairs_batch(sure, reference), reference, n_steps=n) for n in (100, 400)
    ]
    assert float(longer[0][0]) > 0.99
    assert float(longer[1][1]) < 0.2 * float(longer[0][1])
    ipo = trained(Preference(variant="ipo", beta=0.5), pairs_batch(sure, reference), reference)
    assert_close(ipo.log()[0] - ipo.log()[1], tensor(1.0), atol=1e-3, rtol=0)  # 1 / (2 beta)


def test_label_smoothing_gives_sure_labels_the_optimum_of_labels_that_err_as_often():
    reference, smoothing, beta = tensor([0.0, 0.7]), 0.2, 0.5
    objective = Preference(beta=beta, label_smoothing=smoothing)
    found = trained(objective, pairs_batch([(0, 1)], reference), reference)
    margin = tensor((1 - smoothing) / smoothing).log() / beta
    assert_close(found, tensor([margin, 0.7]).softmax(-1), atol=1e-3, rtol=0)


def test_kto_moves_to_what_was_liked_and_from_what_was_not():
    reference = torch.zeros(3)
    rated = pairs_batch([(0, 1)], reference)
    thumbs = PreferenceBatch(
        **{name: getattr(rated, name) for name in PreferenceBatch.__slots__}
        | {"group_ids": torch.arange(2), "reference_point": tensor(0.0)}
    )
    found = trained(Preference(variant="kto", beta=0.5), thumbs, reference, n_steps=50)
    # Answers on which nobody had a view keep their share of what is left between the two.
    assert found[0] > 0.5 > 1 / 3 > found[2] > found[1]
