"""Preference optimisation on a real, small model: the tree, the reference, micro-batches, every variant."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from shutil import copy

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from danlu.data.chats import read_comparisons, read_ratings
from danlu.data.preferences import lay_out_completions, single
from danlu.data.rankings import RankingBatches, tokenize_comparison, tokenize_comparisons
from danlu.data.sft import padding_id
from danlu.model.heads import LanguageModel
from danlu.model.precision import Precision, apply_precision
from danlu.objectives.preference import Preference, completion_logprobs
from danlu.objectives.token_loss import token_logprobs
from danlu.recipes import dpo
from danlu.recipes.pretrain import Shape
from danlu.recipes.stage import publish
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatFormat
from danlu.train.loop import LoopConfig
from danlu.train.optim import OptimConfig

SHAPE = Shape(d_model=32, n_layers=2, n_heads=2, n_kv_heads=1, head_dim=16, d_ff=64, max_seq_len=128)
PAIRWISE = ["dpo", "ipo", "simpo", "orpo"]


@pytest.fixture(scope="module")
def chat_format(kit):
    return ChatFormat(Tokenizer.load(kit.tokenizer))


@pytest.fixture(scope="module")
def policy(kit, chat_format, tmp_path_factory):
    """A model directory to start from; what it says is noise, and that is enough here."""
    path = tmp_path_factory.mktemp("policy") / "model"
    model = LanguageModel(SHAPE.model_config(chat_format.tokenizer.vocab_size), seed=0)
    torch.nn.init.normal_(
        model.backbone.embedding.weight, std=0.3, generator=torch.Generator().manual_seed(1)
    )
    publish(model, chat_format.tokenizer, path)
    return path


def config(kit, policy, out, variant="dpo", **changed):
    data = {"ratings": kit.ratings} if variant == "kto" else {"comparisons": kit.comparisons}
    given = {
        "objective": Preference(variant=variant),
        "prompts_per_batch": 4,
        "sample_prompts": (),
        "optim": OptimConfig(lr=1e-3, weight_decay=0.0),
        **data,
        **changed,
    }
    return dpo.DpoConfig(policy=policy, out=out, **given)


def metrics(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def load(policy, kernels):
    model = dpo.load_language_model(policy)
    apply_precision(model, Precision(kernels=kernels))
    return model


@pytest.mark.parametrize("kernels", ["plain", "native"])
def test_the_tree_gives_what_every_completion_has_in_a_pass_of_its_own(kit, policy, chat_format, kernels):
    model, given = load(policy, kernels), read_comparisons(kit.comparisons)
    given += [single(rating) for rating in read_ratings(kit.ratings)]
    groups = tokenize_comparisons(given, chat_format, 128)
    batch = lay_out_completions(groups, padding_id(chat_format))
    assert len(batch.input_ids) > 1
    found = completion_logprobs(model, batch)
    found.square().sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    alone = torch.stack([logprob_alone(model, ids) for ids in in_order(given, batch, chat_format)])
    assert_close(found, alone, atol=1e-4, rtol=1e-5)
    alone.square().sum().backward()
    for name, p in model.named_parameters():
        assert_close(gradients[name], p.grad, atol=1e-3, rtol=1e-3)


def in_order(given, batch, chat_format):
    """Prompt and completion as ids, in the order of the batch."""
    groups = [tokenize_comparison(each, chat_format) for each in given]
    left = [iter(group.completions) for group in groups]
    return [(groups[group].prompt, next(left[group])) for group in batch.group_ids.tolist()]


def logprob_alone(model, ids):
    prompt, completion = ids
    row = torch.tensor([[*prompt, *completion]])
    return token_logprobs(model(row[:, :-1]), row[:, 1:])[0, len(prompt) - 1 :].sum()


@pytest.mark.parametrize("variant", ["dpo", "kto"])
def test_before_the_first_update_policy_and_reference_agree_to_the_bit(kit, policy, tmp_path, variant):
    out = dpo.run(config(kit, policy, tmp_path / "out", variant))
    first = metrics(out)[0]
    scores = [first[name] for name in first if name.endswith("_score")]
    assert len(scores) == 2
    assert scores == [0, 0]
    assert first["preference"] == pytest.approx({"dpo": 0.6931472, "kto": 0.5}[variant], abs=1e-6)


@pytest.mark.parametrize("variant", [*PAIRWISE, "kto"])
def test_every_variant_raises_what_was_preferred_over_what_was_not(kit, policy, tmp_path, variant):
    out = dpo.run(config(kit, policy, tmp_path / "out", variant, n_epochs=20.0, held_out=kit.comparisons))
    summary = json.loads((out / "summary.json").read_text())
    # Of five pairs one joins two answers that had a thumb down alike, of which kto heard nothing.
    assert summary["held_out"]["accuracy"]["mean"] >= (0.8 if variant == "kto" else 0.99)
    assert summary["knobs"] == Preference(variant=variant).knobs
    assert load_file(out / "model" / "model.safetensors").keys()


@pytest.mark.parametrize("variant", [*PAIRWISE, "kto"])
def test_micro_batches_change_nothing_beyond_rounding(kit, policy, tmp_path, variant):
    # Twelve records, so that an update of 6 is 6 at once, or 3 and 3.
    whole = config(kit, policy, tmp_path / "whole", variant, prompts_per_batch=6, n_epochs=3.0)
    if variant == "kto":  # thumbs up must prevail, or the reference point stays at 0
        whole = replace(whole, objective=Preference(variant="kto", undesirable_weight=0.1))
    split = replace(whole, out=tmp_path / "split", prompts_per_batch=3, loop=LoopConfig(grad_accum_steps=2))
    for each in (whole, split):
        each.out.mkdir()
        (each.out / "machine.json").write_text('{"dtype": "float32", "kernels": "plain", "threads": 1}')
        dpo.run(each)
    reports = [[line for line in metrics(each.out) if "loss" in line] for each in (whole, split)]
    if variant == "kto":
        assert max(line["reference_point"] for line in reports[0]) > 0.01
    losses = [[line["loss"] for line in lines] for lines in reports]
    assert len(losses[0]) == 6
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    a, b = (load_file(each.out / "model" / "model.safetensors") for each in (whole, split))
    for name in a:
        assert_close(a[name], b[name], atol=2e-4, rtol=1e-3)


def test_a_reference_is_loaded_only_where_the_loss_has_one(kit, policy, tmp_path, monkeypatch):
    loaded = []
    load_model = dpo.load_language_model
    monkeypatch.setattr(dpo, "load_language_model", lambda *a, **k: loaded.append(a) or load_model(*a, **k))
    dpo.run(config(kit, policy, tmp_path / "simpo", "simpo"))
    assert len(loaded) == 1
    dpo.run(config(kit, policy, tmp_path / "dpo", "dpo"))
    assert len(loaded) == 3


def test_every_thumb_is_read_once_an_epoch(kit, policy, tmp_path, chat_format):
    ratings = [single(rating) for rating in read_ratings(kit.ratings)]
    rankings = RankingBatches(ratings, chat_format, 5, 128, seed=0)
    batches, _ = dpo.batches_of(
        config(kit, policy, tmp_path, "kto"),
        rankings,
        load(policy, "plain"),
        load(policy, "plain"),
    )
    epoch = list(islice(batches, rankings.batches_per_epoch))
    assert sum(int((batch.ranks == 1).sum()) for batch in epoch) == 4
    assert sum(len(batch.ranks) for batch in epoch) == 12
    assert all(float(batch.reference_point) == 0 for batch in epoch)  # nothing was trained in between


def test_a_resumed_run_asks_the_reference_for_nothing_it_has_said(kit, policy, tmp_path, monkeypatch):
    given = config(kit, policy, tmp_path / "out", n_epochs=2.0, save_every=1)
    whole = dpo.run(replace(given, out=tmp_path / "whole"))
    given.out.mkdir()
    copy(whole / "machine.json", given.out)
    updates = dpo.Stage.updates
    monkeypatch.setattr(dpo.Stage, "updates", lambda self: islice(updates(self), 4))  # an epoch is 3
    monkeypatch.setattr(dpo, "deliver", interrupt)
    with pytest.raises(Interrupted):
        dpo.run(given)
    monkeypatch.undo()
    monkeypatch.setattr(dpo, "logprobs_of", lambda model: interrupt)
    dpo.run(given)
    a, b = (load_file(path / "model" / "model.safetensors") for path in (whole, given.out))
    assert all(torch.equal(a[name], b[name]) for name in a)


class Interrupted(Exception):
    """Stands for whatever ended the run."""


def interrupt(*_):
    raise Interrupted
