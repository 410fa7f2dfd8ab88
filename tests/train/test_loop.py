import pytest
import torch
from torch import nn, tensor
from torch.testing import assert_close

from danlu.data.records import Batch, DataError
from danlu.objectives.loss import Loss, Term
from danlu.train.loop import LoopConfig, train
from danlu.train.optim import OptimConfig, build_optimizer


class MeanOfTokens:
    """Squared distance of one weight from each counted number, plus a term counted in rows."""

    def __call__(self, model, batch):
        error = (model.weight - batch.input_ids.float()).square() * batch.loss_mask
        rows = (model.weight * 3).square().sum() * len(batch)
        return Loss({"tokens": Term(error.sum()), "rows": Term(rows, 0.1)})

    def weights(self, batch):
        return {"tokens": batch.loss_mask.sum(), "rows": tensor(len(batch))}


class OneWeight(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(tensor([[1.0]]))


def batch(values, mask):
    ids = tensor(values)
    return Batch(
        input_ids=ids, target_ids=ids, loss_mask=tensor(mask), position_ids=ids * 0, segment_ids=ids * 0
    )


def gradient(batches, accum):
    model = OneWeight()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    config = LoopConfig(n_steps=1, grad_accum_steps=accum, max_grad_norm=1e9)
    report = next(train(model, batches, MeanOfTokens(), optimizer, lambda step: 1.0, config))
    return 1.0 - model.weight.item(), report


def test_micro_batches_of_unequal_size_give_the_gradient_of_the_whole():
    whole = [batch([[1, 2], [3, 4], [5, 6]], [[True, True], [True, False], [False, False]])]
    parts = [batch([[1, 2]], [[True, True]]), batch([[3, 4], [5, 6]], [[True, False], [False, False]])]
    together, report = gradient(whole, 1)
    apart, report_apart = gradient(parts, 2)
    # Tokens 1, 2, 3 count: 2 * mean(1 - x) = -2; rows: 0.1 * 18 = 1.8.
    assert abs(together - (-2.0 + 1.8)) < 1e-6
    assert abs(apart - together) < 1e-6
    assert report.metrics == pytest.approx(report_apart.metrics)
    assert report.loss == pytest.approx(5 / 3 + 0.1 * 9)


def test_an_update_that_counts_no_target_is_an_error():
    with pytest.raises(DataError, match="count no target for 'tokens'"):
        gradient([batch([[1, 2]], [[False, False]])], 1)


def test_a_loss_that_is_not_a_number_stops_the_run():
    class Broken(MeanOfTokens):
        def __call__(self, model, batch):
            return Loss({"tokens": Term(model.weight.sum() * float("nan"))})

        def weights(self, batch):
            return {"tokens": tensor(1)}

    model = OneWeight()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    steps = train(model, [batch([[1]], [[True]])], Broken(), optimizer, lambda s: 1.0, LoopConfig(n_steps=1))
    with pytest.raises(FloatingPointError, match="gradient norm is nan at update 1"):
        next(steps)
    assert_close(model.weight.data, tensor([[1.0]]))


def test_the_loop_ends_when_the_batches_do():
    model = OneWeight()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = [batch([[1]], [[True]])] * 3
    reports = list(train(model, data, MeanOfTokens(), optimizer, lambda s: 0.1, LoopConfig(n_steps=10)))
    assert [r.step for r in reports] == [1, 2, 3]


def test_muon_takes_hidden_matrices_and_adamw_the_rest():
    model = nn.ModuleDict({"embedding": nn.Embedding(4, 8), "mlp": nn.Linear(8, 8), "score": nn.Linear(8, 1)})
    muon, adamw = build_optimizer(model, OptimConfig(kind="muon")).parts
    assert [p.shape for g in muon.param_groups for p in g["params"]] == [(8, 8)]
    assert sum(p.numel() for g in adamw.param_groups for p in g["params"]) == 32 + 8 + 8 + 1
    decayed = [p.ndim for g in adamw.param_groups if g["weight_decay"] for p in g["params"]]
    assert set(decayed) == {2}
