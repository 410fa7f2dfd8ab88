"""LoRA by itself: where it begins, what it adds, what is trained, merging, switching off, sharing a base."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_models import LORA, base_model, some_ids, taught
from torch import nn, tensor
from torch.testing import assert_close

from danlu.adapters.attach import adapted_layers, adapters_off, attach, merge, unmerge
from danlu.adapters.lora import Lora
from danlu.adapters.settings import AdapterConfig
from danlu.adapters.sharing import FrozenState, base_digest, twin
from danlu.config import ConfigError
from danlu.generate.native import library
from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.model import fused_block
from danlu.model.adapted import AdaptedLinear, dense_weight
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import load_language_model, save_model
from danlu.model.layers import Linear
from danlu.model.native import bindings
from danlu.model.precision import Precision, apply_precision, choose_precision

KERNELS = [
    ("plain", "float32"),
    ("plain", "bfloat16"),
    ("native", "float32"),
    ("native", "bfloat16"),
    ("packed", "bfloat16"),
]


@pytest.fixture(params=KERNELS, ids="-".join)
def precision(request: pytest.FixtureRequest) -> Precision:
    """Every way in which a model can be run for training; those that this machine lacks are left out."""
    kernels, dtype = request.param
    if (kernels != "plain" and not bindings.available()) or (
        kernels == "packed" and not bindings.has_products()
    ):
        pytest.skip(f"no {kernels} kernels on this machine")
    return Precision(dtype=dtype, kernels=kernels)


def nll(model: LanguageModel) -> torch.Tensor:
    ids = some_ids()
    return model.nll_sum(ids[:, :-1], None, None, ids[:, 1:], torch.ones_like(ids[:, 1:], dtype=torch.bool))


def adapted(linear: Linear, rank: int, scale: float) -> tuple[AdaptedLinear, Lora]:
    layer, update = AdaptedLinear(linear), Lora(linear, rank, scale)
    layer.adapters["default"], layer.adapters.active = update, {"default": 1.0}
    return layer, update


def test_the_update_is_what_the_paper_says():
    """Eq. 3 by hand: W x + alpha / r · B A x."""
    layer, update = adapted(Linear(2, 2, bias=False), rank=1, scale=2.0)
    with torch.no_grad():
        layer.weight.copy_(tensor([[1.0, 2.0], [3.0, 4.0]]))
        update.lora_a.copy_(tensor([[1.0, -1.0]]))
        update.lora_b.copy_(tensor([[0.5], [2.0]]))
        # x = (3, 1): W x = (5, 13), A x = 2, 2 · B · 2 = (2, 8)
        assert_close(layer(tensor([3.0, 1.0])), tensor([7.0, 21.0]))
        assert_close(dense_weight(layer), tensor([[2.0, 1.0], [7.0, 0.0]]))


def test_rank_stabilised_scaling_divides_by_the_root_of_the_rank():
    assert AdapterConfig(kind="lora", alpha=32.0).scale(16) == 2.0
    assert AdapterConfig(kind="lora", alpha=32.0, rank_stabilised=True).scale(16) == 8.0


def test_a_fresh_adapter_changes_nothing_bit_for_bit(precision: Precision):
    base = base_model()
    adapted = twin(base.requires_grad_(False))
    attach(adapted, LORA)
    for model in (base, adapted):
        assert apply_precision(model, precision) == precision
    assert torch.equal(adapted(some_ids()), base(some_ids()))
    assert torch.equal(nll(adapted), nll(base))


def test_every_training_path_applies_the_adapter(precision: Precision):
    """An adapted model answers as one whose weights hold the update, and as no other."""
    adapted, dense, base = taught(base_model()), base_model(), base_model()
    with torch.no_grad():
        for name, layer in adapted_layers(adapted).items():
            dense.get_submodule(name).weight.copy_(dense_weight(layer))
    for model in (adapted, dense, base):
        assert apply_precision(model, precision) == precision
    tolerance = 1e-5 if precision.dtype == "float32" else 0.03
    wanted, found, unadapted = (model(some_ids()).detach() for model in (dense, adapted, base))
    scale = float(wanted.abs().max())
    assert float((found - wanted).abs().max()) < tolerance * scale
    assert float((unadapted - wanted).abs().max()) > 0.2 * scale
    assert_close(nll(adapted), nll(dense), rtol=tolerance, atol=0)


def test_an_adapter_attached_after_the_kernels_were_chosen_is_applied_too(precision: Precision):
    early, late = base_model(), base_model()
    taught(early)
    apply_precision(early, precision)
    apply_precision(late, precision)
    taught(late)
    assert torch.equal(late(some_ids()), early(some_ids()))


def test_gradients_are_those_of_the_plain_path_and_reach_the_adapter_only(precision: Precision):
    plain, other = taught(base_model()), taught(base_model())
    apply_precision(other, precision)
    for model in (plain, other):
        nll(model).backward()
    tolerance = 1e-4 if precision.dtype == "float32" else 0.1
    for (name, theirs), ours in zip(plain.named_parameters(), other.parameters(), strict=True):
        if not name.endswith(("lora_a", "lora_b")):
            assert not ours.requires_grad
            assert ours.grad is None
            continue
        assert theirs.grad is not None
        assert ours.grad is not None
        assert float(theirs.grad.norm()) > 0
        assert float((ours.grad - theirs.grad).norm()) < tolerance * float(theirs.grad.norm())


def test_a_graph_gone_through_twice_gives_the_gradient_of_each_pass(precision: Precision):
    model, ids = taught(base_model()), some_ids()
    apply_precision(model, precision)
    adapters = [weight for weight in model.parameters() if weight.requires_grad]
    hidden = model.backbone(ids)
    directions = torch.randn(2, *hidden.shape, generator=torch.Generator().manual_seed(1))
    together = torch.autograd.grad((hidden.float() * directions[0]).sum(), adapters, retain_graph=True)
    again = torch.autograd.grad((hidden.float() * directions[1]).sum(), adapters, retain_graph=True)
    for direction, found in zip(directions, (together, again), strict=True):
        alone = torch.autograd.grad((model.backbone(ids).float() * direction).sum(), adapters)
        for a, b in zip(found, alone, strict=True):
            assert torch.equal(a, b)


def test_gradients_of_the_update_are_finite_differences():
    layer = adapted(Linear(5, 4), rank=2, scale=1.5)[0].double()
    generator = torch.Generator().manual_seed(0)
    x, down, up = (
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in ((3, 5), (2, 5), (4, 2))
    )

    def forward(x: torch.Tensor, down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        update = {"adapters.default.lora_a": down, "adapters.default.lora_b": up}
        return torch.func.functional_call(layer, update, (x,))

    assert torch.autograd.gradcheck(forward, (x, down, up))


def test_weights_beside_a_partly_trained_product_keep_their_gradients():
    """q is trained, k and v beside it in the same product are not: the fused path must not mix them up."""
    if not bindings.available():
        pytest.skip("needs a C compiler")
    found = {}
    for kernels in ("plain", "native"):
        model = taught(base_model(), AdapterConfig(kind="lora", rank=2, targets=("v",)))
        model.backbone.blocks[0].self_attn.sublayer.q.weight.requires_grad_(True)
        apply_precision(model, Precision(kernels=kernels))
        nll(model).backward()
        found[kernels] = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    assert found["plain"].keys() == found["native"].keys()
    assert len(found["plain"]) == 2 * 2 + 1
    for name, theirs in found["plain"].items():
        assert_close(found["native"][name], theirs, rtol=1e-3, atol=1e-3)


def test_switched_off_it_is_the_untouched_base_bit_for_bit(precision: Precision):
    base, adapted = base_model(), taught(base_model())
    for model in (base, adapted):
        apply_precision(model, precision)
    with_adapter = adapted(some_ids())
    with adapters_off(adapted):
        assert torch.equal(adapted(some_ids()), base(some_ids()))
        assert torch.equal(nll(adapted), nll(base))
    assert torch.equal(adapted(some_ids()), with_adapter)
    assert not torch.equal(with_adapter, base(some_ids()))


def test_after_an_error_the_adapter_is_on_again():
    model = taught(base_model())
    before = model(some_ids())
    with pytest.raises(KeyError), adapters_off(model):
        raise KeyError
    assert torch.equal(model(some_ids()), before)


@pytest.mark.parametrize("kernel", ["native", "torch"])
@pytest.mark.parametrize("choices", [{}, {"qk_norm": False, "bias": "qkv", "tie_embeddings": False}], ids=str)
def test_what_is_sampled_is_what_the_adapted_model_says(kernel: str, choices: dict[str, object]):
    if kernel == "native" and library() is None:
        pytest.skip("no C compiler")
    model = base_model(**choices).eval()
    sampler = Sampler(model, stop_ids={}, kernel=kernel)  # made before there is an adapter
    before = sampled_and_trained(sampler, model)
    taught(model)
    after = sampled_and_trained(sampler, model)
    with adapters_off(model):
        off = sampled_and_trained(sampler, model)
    for sampled, trained in (before, after, off):
        assert_close(sampled, trained, atol=1e-4, rtol=0)
    assert torch.equal(off[0], before[0])
    assert float((after[0] - before[0]).abs().max()) > 0.1


def sampled_and_trained(sampler: Sampler, model: LanguageModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of drawn tokens as the sampler reports them, and by the training forward."""
    prompt = [5, 9, 2]
    (completion,) = sampler.generate([prompt], SamplingConfig(max_new_tokens=30, seed=1))
    with torch.inference_mode():
        logits = model(tensor([prompt + list(completion.ids)]))[0, len(prompt) - 1 : -1]
    chosen = logits.log_softmax(-1).gather(-1, tensor(completion.ids)[:, None])[:, 0]
    return tensor(completion.logprobs), chosen


def test_parts_that_the_kernels_do_not_know_still_switch_them_off():
    class Louder(AdaptedLinear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(input)

    model = taught(base_model())
    model.backbone.blocks[0].mlp.sublayer.up.__class__ = Louder
    assert not fused_block.supports(model.backbone)
    with pytest.raises(ValueError, match="native"):
        Sampler(model, stop_ids={}, kernel="native")


def test_a_saved_model_holds_the_update_in_its_weights(tmp_path: Path):
    model = taught(base_model())
    save_model(model, tmp_path)
    back = load_language_model(tmp_path)
    assert not adapted_layers(back)
    assert_close(back(some_ids()), model(some_ids()), atol=2e-5, rtol=1e-5)


def test_merged_and_unmerged_it_answers_alike_and_the_base_is_as_before():
    base = base_model().requires_grad_(False)
    model = taught(twin(base))
    before, weights = model(some_ids()), {n: p.clone() for n, p in base.named_parameters()}
    merge(model)
    merge(model)  # a second time adds nothing
    assert_close(model(some_ids()), before, atol=2e-5, rtol=1e-5)
    assert not any(p.requires_grad for p in model.parameters())
    with pytest.raises(ValueError, match="unmerge"), adapters_off(model):
        pass
    with pytest.raises(ValueError, match="unmerge"):
        base_digest(model)
    unmerge(model)
    assert_close(model(some_ids()), before, atol=2e-5, rtol=1e-5)
    for name, layer in adapted_layers(model).items():
        assert torch.equal(layer.weight, weights[f"{name}.weight"])
        assert layer.adapters["default"].lora_a.requires_grad
    for name, parameter in base.named_parameters():  # which shared its weights with the merged twin
        assert torch.equal(parameter, weights[name])


def test_policy_reference_value_and_reward_model_stand_on_one_base():
    base = base_model().requires_grad_(False)
    separate = base_model()
    policy = taught(twin(base))
    reward = taught(ScoreModel.on(twin(base.backbone), seed=5), AdapterConfig(kind="lora", rank=2))
    value = twin(reward)
    reward.requires_grad_(False)
    storages = {p.data_ptr() for p in base.parameters()}
    for model in (policy, reward, value):
        assert storages >= {
            p.data_ptr() for n, p in model.named_parameters() if "lora_" not in n and "score" not in n
        }
    assert torch.equal(value(some_ids()), reward(some_ids()))
    reward_before = reward(some_ids())
    trained = [p for model in (policy, value) for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    (nll(policy) + value(some_ids()).square().sum()).backward()
    optimizer.step()
    assert torch.equal(base(some_ids()), separate(some_ids()))
    assert torch.equal(reward(some_ids()), reward_before)
    assert not torch.equal(value(some_ids()), reward_before)
    with adapters_off(policy):
        assert torch.equal(policy(some_ids()), separate(some_ids()))


def test_a_score_head_is_trained_whole_and_not_shared():
    reward = ScoreModel(base_model().config, seed=1).requires_grad_(False)
    value = twin(reward)
    attach(value, LORA)
    assert value.score.weight.requires_grad
    assert value.score.weight.data_ptr() != reward.score.weight.data_ptr()
    assert torch.equal(value(some_ids()), reward(some_ids()))


def test_dropout_thins_the_update_out_on_the_plain_path_while_training_only():
    model = taught(base_model(), AdapterConfig(kind="lora", rank=3, alpha=6.0, dropout=0.5))
    same = taught(base_model())
    model.eval()
    assert torch.equal(model(some_ids()), same(some_ids()))
    model.train()
    assert not torch.equal(model(some_ids()), model(some_ids()))
    apply_precision(model, Precision(kernels="native"))
    assert not torch.equal(model(some_ids()), model(some_ids()))
    layer = model.backbone.blocks[0].mlp.sublayer.up
    x = torch.ones(4000, 32)
    with torch.no_grad():
        thinned, whole = layer(x) - x @ layer.weight.t(), x @ (dense_weight(layer) - layer.weight).t()
    # Each of 32 inputs is kept half of the time and then doubled: the mean is that of the whole.
    assert_close(thinned.mean(0), whole[0], atol=0.15, rtol=0)


def test_dropout_goes_on_where_its_state_was_saved():
    config = AdapterConfig(kind="lora", rank=3, alpha=6.0, dropout=0.5)
    first, second = taught(base_model(), config), taught(base_model(), config)
    first(some_ids())
    state = FrozenState(first).state_dict()
    FrozenState(second).load_state_dict(state)
    assert torch.equal(first(some_ids()), second(some_ids()))


def test_a_saved_state_is_refused_on_another_base():
    model, other = taught(base_model()), taught(base_model())
    state = FrozenState(model).state_dict()
    with torch.no_grad():
        other.backbone.norm.weight[0] += 1
    with pytest.raises(ConfigError, match="not those that this run began with"):
        FrozenState(other).load_state_dict(state)


def test_choosing_kernels_uses_up_no_random_numbers():
    config = AdapterConfig(kind="lora", rank=3, alpha=6.0, dropout=0.5)
    model, same = taught(base_model(), config), taught(base_model(), config)
    choose_precision(model, batch_size=2, seq_len=8)
    assert model.training
    apply_precision(model, Precision())
    assert torch.equal(model(some_ids()), same(some_ids()))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (("q", "queue"), r"named 'queue'; these are: \['gate', 'k', 'out', 'q', 'up', 'v'\]"),
        (("lm_head",), "heads take no adapter"),
        (("backbone.lm_head",), "heads take no adapter"),
    ],
)
def test_targets_that_cannot_be_adapted_are_refused(targets: tuple[str, ...], message: str):
    with pytest.raises(ConfigError, match=message):
        attach(base_model(), AdapterConfig(kind="lora", targets=targets))


def test_targets_may_name_one_sublayer_or_one_block():
    model = base_model()
    attach(model, AdapterConfig(kind="lora", targets=("mlp.sublayer.out", "blocks.1.self_attn.sublayer.q")))
    assert sorted(adapted_layers(model)) == [
        "backbone.blocks.0.mlp.sublayer.out",
        "backbone.blocks.1.mlp.sublayer.out",
        "backbone.blocks.1.self_attn.sublayer.q",
    ]


def test_a_second_adapter_on_an_adapted_model_is_refused():
    with pytest.raises(ValueError, match="has an adapter 'default' already; give the new one another name"):
        attach(taught(base_model()), LORA)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rank": 0}, "rank is 0"),
        ({"alpha": 0.0}, r"alpha is 0\.0"),
        ({"dropout": 1.0}, r"dropout is 1\.0"),
        ({"targets": ()}, "targets is empty"),
        ({"kind": "none", "rank": 8}, "rank is set, but kind is 'none'"),
    ],
)
def test_impossible_settings_are_refused(changed: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        AdapterConfig(**{"kind": "lora"} | changed)


def test_any_module_with_linear_layers_can_be_adapted():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    before = model(x)
    attach(model, AdapterConfig(kind="lora", rank=2, targets=("0", "2")))
    assert torch.equal(model(x), before)
    assert [n for n, p in model.named_parameters() if p.requires_grad] == [
        f"{layer}.adapters.default.{factor}" for layer in (0, 2) for factor in ("lora_a", "lora_b")
    ]
