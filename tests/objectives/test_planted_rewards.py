"""What is planted is found again: a reward, how often people see no difference, how noisy each of them is."""

from __future__ import annotations

import math

import pytest
import torch
from ranked_by_hand import LinearScores, ranked
from torch import tensor

from danlu.model.raters import RaterModel, tie_start
from danlu.objectives.ranking import TIES, Ranking

CHUNK = 300  # rankings in one batch


def fit(objective, model, batches):
    """Minimise the mean loss over all batches, as the loop does with each term's own weight."""
    weights = [objective.weights(batch) for batch in batches]
    totals = {name: sum(float(each[name]) for each in weights) for name in weights[0]}
    optimizer = torch.optim.LBFGS(
        [p for p in model.parameters() if p.requires_grad],
        max_iter=60,
        tolerance_grad=1e-5,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        mean = 0.0
        for batch in batches:
            terms = objective(model, batch).terms
            loss = sum(term.total / totals[name] for name, term in terms.items())
            loss.backward()
            mean += loss.item()
        return mean

    optimizer.step(closure)


def in_batches(ranks, raters=None):
    """Batches of (rankings, K) ranks, whose completions have consecutive rows of the table of features."""
    k = ranks.shape[1]
    batches = []
    for first in range(0, len(ranks), CHUNK):
        part = ranks[first : first + CHUNK]
        groups = torch.arange(len(part)).repeat_interleave(k)
        numbers = torch.arange(first * k, first * k + part.numel())
        names = [] if raters is None else [r for r in raters[first : first + CHUNK] for _ in range(k)]
        batches.append(ranked(part.flatten(), groups, numbers, raters=names))
    return batches


def ranked_by_people(scores, kind, generator, log_tie):
    """Ranks of pairs, (pairs, 2), drawn from a likelihood with ties; `scores` is (pairs, 2)."""
    probabilities = TIES[kind](scores[:, 0] - scores[:, 1], log_tie).exp().T
    drawn = torch.multinomial(probabilities, 1, generator=generator).squeeze(1)
    return tensor([[1, 2], [1, 1], [2, 1]])[drawn]


@pytest.mark.parametrize("fitted", ["bradley_terry", "plackett_luce", "davidson", "rao_kupper"])
@pytest.mark.parametrize("planted", ["davidson", "rao_kupper"])
def test_a_planted_reward_is_recovered_from_rankings_with_ties(planted, fitted):
    generator = torch.Generator().manual_seed(0)
    n, truth = 900, torch.linspace(-1, 1, 6, dtype=torch.float64)
    log_tie = tensor(tie_start(planted, 0.35), dtype=torch.float64)
    features = torch.randn(4 * n, 6, dtype=torch.float64, generator=generator)
    ranks = ranked_by_people((features @ truth).view(-1, 2), planted, generator, log_tie)
    raters = RaterModel(fitted, log_tie=tie_start(fitted, (ranks[:n, 0] == ranks[:n, 1]).double().mean()))
    model = LinearScores(features, torch.zeros(6, dtype=torch.float64), raters.double())
    fit(Ranking(kind=fitted), model, in_batches(ranks[:n]))
    held_out, strict = features[2 * n :].view(-1, 2, 6), ranks[n:, 0] != ranks[n:, 1]

    def accuracy(weight):
        margin = (held_out @ weight) @ tensor([1.0, -1.0], dtype=torch.float64)
        return float(((margin > 0) == (ranks[n:, 0] < ranks[n:, 1]))[strict].double().mean())

    def foretold(
        weight, kind, log_tie
    ):  # of all pairs: what is most likely to be said of them, ties included
        margin = (held_out @ weight) @ tensor([1.0, -1.0], dtype=torch.float64)
        said = 1 + torch.sign(ranks[n:, 0] - ranks[n:, 1])  # 0: the first wins, 1: level, 2: the second wins
        return float((TIES[kind](margin, log_tie).argmax(0) == said).double().mean())

    bayes = accuracy(truth)  # nobody can know better than the reward that people went by
    assert 0.7 < bayes < 0.97
    assert accuracy(model.weight.detach()) >= 0.95 * bayes
    if fitted in TIES:
        with torch.no_grad():
            found = foretold(model.weight, fitted, model.raters.log_tie)
        bayes_of_three = foretold(truth, planted, log_tie)
        assert 1 / 3 < bayes_of_three < bayes
        assert found >= 0.95 * bayes_of_three
    if fitted == planted:
        # 900 pairs leave a standard error of about 0.08 in the tie parameter and in each of the six weights,
        # that is 0.11 of their length together: three and two of these are allowed.
        assert model.raters.log_tie.item() == pytest.approx(float(log_tie), abs=0.25)
        assert (model.weight.detach() - truth).norm() / truth.norm() < 0.22


def descent(features, ranks, start):
    """The weights at the start and after each of some steps from it."""
    model = LinearScores(features, start.clone())
    objective, batches = Ranking(), in_batches(ranks)
    yield start
    for _ in range(25):
        loss = sum(objective(model, batch).terms["ranking"].total for batch in batches) / len(ranks)
        model.weight.data -= 0.2 * torch.autograd.grad(loss, model.weight)[0]
        yield model.weight.detach().clone()


def with_and_without_pretraining(seed):
    """Accuracy from all labels alone, from other preferences alone, and from these and half of the labels.

    The other preferences are plentiful, by people three times as noisy who value other things a little. Each
    training ends where it is best, as held-out rankings would tell.
    """
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randn(30, dtype=torch.float64, generator=generator) / 3
    theirs = truth + torch.randn(30, dtype=torch.float64, generator=generator) / 8

    def preferences(n, reward):
        features = torch.randn(2 * n, 30, dtype=torch.float64, generator=generator)
        scores = (features @ reward).view(-1, 2)
        first = torch.rand(n, generator=generator) < (scores[:, 0] - scores[:, 1]).sigmoid()
        return features, torch.where(first.unsqueeze(1), tensor([1, 2]), tensor([2, 1]))

    def accuracy(weight):  # how often two completions are ordered as the truth orders them
        return float(((unseen @ weight > 0) == (unseen @ truth > 0)).double().mean())

    unseen = torch.randn(4000, 30, dtype=torch.float64, generator=generator)
    *_, pretrained = descent(*preferences(1200, theirs / 3), torch.zeros(30, dtype=torch.float64))
    features, ranks = preferences(160, truth)
    alone = max(map(accuracy, descent(features, ranks, torch.zeros(30, dtype=torch.float64))))
    half = max(map(accuracy, descent(features[:160], ranks[:80], pretrained)))
    return tensor([alone, accuracy(pretrained), half])


def test_other_preferences_first_halve_the_labels_that_are_needed():
    alone, pretrained, half = torch.stack([with_and_without_pretraining(seed) for seed in range(5)]).mean(0)
    assert half > pretrained + 0.01  # the labels are still learnt from
    assert half > alone + 0.01


def planted_scales(n_raters):
    """Scales from a third to three, whose geometric mean is one."""
    return torch.linspace(-math.log(3), math.log(3), n_raters, dtype=torch.float64).exp()


def recovered(scales, k, n_each, kind, generator):
    """Each rater's scale as learnt from rankings with Gumbel noise: rater r's has 1 / scale of it."""
    truth = tensor([2.0, -1.0, 1.0, 0.5], dtype=torch.float64)
    names = [f"rater {i}" for i in range(len(scales)) for _ in range(n_each)]
    features = torch.randn(len(names) * k, 4, dtype=torch.float64, generator=generator)
    scores = (features @ truth).view(-1, k)
    noise = -torch.empty_like(scores).exponential_(generator=generator).log()
    order = (scores * scales.repeat_interleave(n_each).unsqueeze(1) + noise).argsort(1, descending=True)
    ranks = order.argsort(1) + 1
    raters = RaterModel(kind, n_rankings={f"rater {i}": n_each for i in range(len(scales))})
    model = LinearScores(features, torch.zeros(4, dtype=torch.float64), raters.double())
    fit(Ranking(kind=kind, rater_noise=True), model, in_batches(ranks, names))
    assert list(model.raters.scales()) == [f"rater {i}" for i in range(len(scales))]
    assert (model.weight.detach() - truth).norm() / truth.norm() < 0.1
    return tensor(list(model.raters.scales().values()), dtype=torch.float64)


def test_each_raters_noise_is_found_within_a_tenth_from_a_thousand_rankings():
    scales = planted_scales(4)
    found = recovered(scales, 5, 1000, "bradley_terry", torch.Generator().manual_seed(0))
    assert ((found / scales).log().abs() < math.log(1.1)).all(), found / scales


def test_raters_noise_is_found_within_a_tenth_from_a_thousand_pairs_each():
    # The information in a pair on a rater's log scale is the mean of d^2 p (1 - p), for normal d a quarter at
    # best, so that a thousand leave a standard error of 6 %: the root mean square over raters can be held to
    # a tenth, the worst of them cannot.
    scales = planted_scales(8)
    found = recovered(scales, 2, 1000, "bradley_terry", torch.Generator().manual_seed(0))
    error = (found / scales).log().square().mean().sqrt().item()
    assert error < math.log(1.1), found / scales
